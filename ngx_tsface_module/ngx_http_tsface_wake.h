
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * One eventfd that wakes every worker of this master, of all generations.
 */


#ifndef _NGX_HTTP_TSFACE_WAKE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_WAKE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef void (*ngx_http_tsface_wake_pt)(void);


/* init_module: makes the descriptor, once in a master's life. */
ngx_int_t ngx_http_tsface_wake_create(ngx_cycle_t *cycle);

/*
 * init_process: handler is called on the event loop whenever any worker has
 * called wake_all(), this one included.  Where the event method has no edge
 * triggered events nothing is registered: waiters poll every 250 ms anyway.
 */
ngx_int_t ngx_http_tsface_wake_start(ngx_cycle_t *cycle,
    ngx_http_tsface_wake_pt handler);

/* Makes no promise of one call a wake-up: edges may be merged. */
void ngx_http_tsface_wake_all(ngx_log_t *log);


#endif /* _NGX_HTTP_TSFACE_WAKE_H_INCLUDED_ */
