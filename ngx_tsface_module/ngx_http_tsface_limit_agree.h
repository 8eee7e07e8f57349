
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What all limits of a request say together.  Pure: the clock is an argument,
 * and whoever calls has locked the tables of all zones.
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_AGREE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_AGREE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_limit.h"
#include "ngx_http_tsface_limit_zone.h"


/*
 * All or nothing.  NGX_OK: a place was taken in each zone but those whose
 * limit is a dry run and would have refused; request->until says for when.
 * NGX_BUSY, NGX_ERROR: as ngx_http_tsface_limit_decide(), nothing was taken.
 * A refusal by rate goes before want of room: it is the caller's to know.
 *
 * If request->told, the keys' times are those of a store, relative to now, and
 * this is what it decided: it is written to the zones as far as it is new to
 * them, and there is room.
 */
ngx_int_t ngx_http_tsface_limit_agree(ngx_http_tsface_limits_t *request,
    uint64_t now);

/*
 * The time of a key.  One that is further ahead than it can be was put there
 * before a reload that raised the rate: it is cut down to the most that it can
 * be, so that nobody waits by the old rate.  Not by a worker that exits: its
 * rate is the old one, and may be the higher one.
 */
uint64_t ngx_http_tsface_limit_recall(const ngx_http_tsface_limit_use_t *use,
    ngx_http_tsface_limit_node_t *node, uint64_t now);

/* How long a request may wait; delay_max may allow fewer than delay does. */
uint64_t ngx_http_tsface_limit_queue(const ngx_http_tsface_limit_t *limit,
    const ngx_http_tsface_gcra_t *gcra);

/*
 * Takes the places back, each one that is the last of its key: then all is as
 * if the request had never come.  A place with others behind it can't be
 * taken back, as they know their times already, and a later one would have
 * the same as one of them.
 */
void ngx_http_tsface_limit_disagree(ngx_http_tsface_limits_t *request,
    uint64_t now);


#endif /* _NGX_HTTP_TSFACE_LIMIT_AGREE_H_INCLUDED_ */
