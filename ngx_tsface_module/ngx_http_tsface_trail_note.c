
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <sys/fsuid.h>

#include "ngx_http_tsface_trail.h"
#include "ngx_http_tsface_trail_file.h"
#include "ngx_http_tsface_writer.h"


/* for the lock: workers that write have it for microseconds */
#define NGX_HTTP_TSFACE_TRAIL_NOTE_WAIT   1000


static void ngx_http_tsface_trail_note(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail, ngx_shm_zone_t *zone,
    ngx_http_tsface_record_type_e type, const char *reason);
static ngx_int_t ngx_http_tsface_trail_note_write(
    const ngx_http_tsface_trail_file_conf_t *conf,
    ngx_http_tsface_record_type_e type, const char *reason,
    ngx_http_tsface_trail_result_t *result);
static void ngx_http_tsface_trail_note_copy(ngx_http_tsface_writer_t *w,
    const ngx_http_tsface_trail_file_conf_t *conf);


void
ngx_http_tsface_trail_note_start(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail, ngx_shm_zone_t *zone)
{
    ngx_http_tsface_trail_note(cycle, trail, zone,
                               NGX_HTTP_TSFACE_RECORD_OPEN,
                               ngx_inherited ? "upgraded" : "started");
}


void
ngx_http_tsface_trail_note_stop(ngx_cycle_t *cycle,
    ngx_http_tsface_trail_t *trail, ngx_shm_zone_t *zone)
{
    ngx_http_tsface_trail_note(cycle, trail, zone,
                               NGX_HTTP_TSFACE_RECORD_CLOSE,
                               ngx_new_binary ? "upgraded" : "stopped");
}


/*
 * The directory may be the workers', and a worker may be in the wrong hands:
 * root touches nothing there that the workers' user could not.  So what is
 * made is theirs as well.  setfsuid() tells nothing of a failure but by being
 * asked again; it can't fail for root.
 */

static void
ngx_http_tsface_trail_note(ngx_cycle_t *cycle, ngx_http_tsface_trail_t *trail,
    ngx_shm_zone_t *zone, ngx_http_tsface_record_type_e type,
    const char *reason)
{
    ngx_uid_t                           user;
    ngx_core_conf_t                    *ccf;
    ngx_http_tsface_writer_t            w;
    ngx_http_tsface_trail_file_conf_t   conf;

    if (zone && trail->counts == NULL) {
        trail->counts = ngx_http_tsface_zone_trail(zone, &trail->name);
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    /* the master's own is handed on to workers, with all that is in it */

    ngx_memzero(&w, sizeof(ngx_http_tsface_writer_t));

    w.trail = trail;
    w.log = cycle->log;
    w.since = ngx_current_msec;
    w.stopped = 1;

    /* one that is about to become a daemon will have another pid */

    ngx_http_tsface_writer_conf(cycle, trail,
                                type == NGX_HTTP_TSFACE_RECORD_OPEN
                                && ccf->daemon && !ngx_inherited
                                ? -1 : ngx_pid, &conf);

    user = ngx_http_tsface_trail_user(cycle);

    if (user != (ngx_uid_t) -1) {
        (void) setfsgid(ccf->group);
        (void) setfsuid(user);
    }

    w.rc = ngx_http_tsface_trail_note_write(&conf, type, reason, &w.result);

    /* when it starts that is for the workers to do */

    if (type == NGX_HTTP_TSFACE_RECORD_CLOSE) {
        ngx_http_tsface_trail_note_copy(&w, &conf);
    }

    if (user != (ngx_uid_t) -1) {
        (void) setfsuid(geteuid());
        (void) setfsgid(getegid());
    }

    if (w.rc != NGX_OK) {
        ngx_http_tsface_writer_complain(NGX_LOG_CRIT, cycle->log, trail,
                                        &w.result,
                                        type == NGX_HTTP_TSFACE_RECORD_OPEN
                                        ? "it has no record of the start"
                                        : "it has no record of the stop");
        return;
    }

    ngx_http_tsface_writer_report(&w);
}


static ngx_int_t
ngx_http_tsface_trail_note_write(
    const ngx_http_tsface_trail_file_conf_t *conf,
    ngx_http_tsface_record_type_e type, const char *reason,
    ngx_http_tsface_trail_result_t *result)
{
    ngx_int_t                      rc;
    ngx_http_tsface_trail_file_t  *file;

    file = ngx_http_tsface_trail_file_new(conf);
    if (file == NULL) {
        ngx_memzero(result, sizeof(ngx_http_tsface_trail_result_t));

        return ngx_http_tsface_trail_failed(result, "malloc()", "", ENOMEM);
    }

    rc = ngx_http_tsface_trail_file_note(file, type, reason,
                                         NGX_HTTP_TSFACE_TRAIL_NOTE_WAIT,
                                         result);

    ngx_http_tsface_trail_file_free(file);

    return rc;
}


/* By a thread that is given up if it hangs: the master has to leave. */

static void
ngx_http_tsface_trail_note_copy(ngx_http_tsface_writer_t *w,
    const ngx_http_tsface_trail_file_conf_t *conf)
{
    if (ngx_http_tsface_writer_copy_init(w, conf) != NGX_OK) {
        return;
    }

    ngx_http_tsface_writer_copy_due(w);
    ngx_http_tsface_writer_copy_stop(w);
    ngx_http_tsface_writer_copy_free(w);
}
