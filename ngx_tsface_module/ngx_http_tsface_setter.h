
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Setters and checks of directives that nginx's own leave room for: those
 * take any text, and any time.
 */


#ifndef _NGX_HTTP_TSFACE_SETTER_H_INCLUDED_
#define _NGX_HTTP_TSFACE_SETTER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * A string of visible ASCII into an ngx_str_t at cmd->offset; cmd->post points
 * to a size_t, the most characters it may have.
 */
char *ngx_http_tsface_set_word_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * An endpoint's URL into an ngx_str_t at cmd->offset.  It is taken apart only
 * to tell what is wrong with it while its line is known.
 */
char *ngx_http_tsface_set_url_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* A file's full path, NUL-terminated; relative to the configuration's. */
char *ngx_http_tsface_set_path_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Do they say the same?  One that was not given is empty. */
ngx_uint_t ngx_http_tsface_setting_equal(const ngx_str_t *one,
    const ngx_str_t *two);

/* For cmd->post of ngx_conf_set_msec_slot(): 1ms to 1h. */
extern ngx_conf_post_t  ngx_http_tsface_timeout_post;

/* For cmd->post of ngx_conf_set_sec_slot(): 1s to 1h. */
extern ngx_conf_post_t  ngx_http_tsface_seconds_post;

/* For cmd->post of ngx_conf_set_str_slot(). */
extern ngx_conf_post_t  ngx_http_tsface_not_empty_post;


#endif /* _NGX_HTTP_TSFACE_SETTER_H_INCLUDED_ */
