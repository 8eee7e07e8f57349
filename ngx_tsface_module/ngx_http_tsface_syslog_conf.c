
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_tsface_setter.h"
#include "ngx_http_tsface_syslog.h"
#include "ngx_http_tsface_syslog_message.h"


/* RFC 5612: the private enterprise number of examples */
#define NGX_HTTP_TSFACE_SYSLOG_ENTERPRISE   "32473"

#define NGX_HTTP_TSFACE_SYSLOG_AUTHPRIV     10
#define NGX_HTTP_TSFACE_SYSLOG_INFO         6

#define NGX_HTTP_TSFACE_SYSLOG_SEND_TIMEOUT  30000


typedef char *(*ngx_http_tsface_syslog_param_pt)(ngx_conf_t *cf,
    ngx_http_tsface_syslog_t *syslog, ngx_str_t *value);


typedef struct {
    ngx_str_t                         name;    /* with "=" */
    ngx_http_tsface_syslog_param_pt   set;
} ngx_http_tsface_syslog_param_t;


static char *ngx_http_tsface_syslog_server(ngx_conf_t *cf,
    ngx_http_tsface_syslog_t *syslog, ngx_str_t *value);
static char *ngx_http_tsface_syslog_facility(ngx_conf_t *cf,
    ngx_http_tsface_syslog_t *syslog, ngx_str_t *value);
static char *ngx_http_tsface_syslog_severity(ngx_conf_t *cf,
    ngx_http_tsface_syslog_t *syslog, ngx_str_t *value);
static char *ngx_http_tsface_syslog_app_name(ngx_conf_t *cf,
    ngx_http_tsface_syslog_t *syslog, ngx_str_t *value);
static char *ngx_http_tsface_syslog_enterprise(ngx_conf_t *cf,
    ngx_http_tsface_syslog_t *syslog, ngx_str_t *value);
static char *ngx_http_tsface_syslog_timeout(ngx_conf_t *cf,
    ngx_http_tsface_syslog_t *syslog, ngx_str_t *value);
static char *ngx_http_tsface_syslog_word(const char *const *words,
    const ngx_str_t *value, ngx_uint_t *number);


static const ngx_http_tsface_syslog_param_t  ngx_http_tsface_syslog_params[] =
{
    { ngx_string("server="), ngx_http_tsface_syslog_server },
    { ngx_string("facility="), ngx_http_tsface_syslog_facility },
    { ngx_string("severity="), ngx_http_tsface_syslog_severity },
    { ngx_string("app_name="), ngx_http_tsface_syslog_app_name },
    { ngx_string("enterprise="), ngx_http_tsface_syslog_enterprise },
    { ngx_string("timeout="), ngx_http_tsface_syslog_timeout },
    { ngx_null_string, NULL }
};


/* By number; the names are those of nginx's own syslog. */
static const char *const  ngx_http_tsface_syslog_facilities[] = {
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp",
    "clock", "authpriv", "ftp", "ntp", "audit", "alert", "cron", "local0",
    "local1", "local2", "local3", "local4", "local5", "local6", "local7",
    NULL
};


static const char *const  ngx_http_tsface_syslog_severities[] = {
    "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug", NULL
};


char *
ngx_http_tsface_syslog_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    char                                  *rv;
    ngx_str_t                             *value;
    ngx_uint_t                             i, n, seen;
    ngx_http_tsface_syslog_t             **field, *syslog;
    const ngx_http_tsface_syslog_param_t  *params;

    field = (ngx_http_tsface_syslog_t **) (p + cmd->offset);

    if (*field) {
        return "is duplicate";
    }

    syslog = ngx_pcalloc(cf->pool, sizeof(ngx_http_tsface_syslog_t));
    if (syslog == NULL) {
        return NGX_CONF_ERROR;
    }

    syslog->facility = NGX_HTTP_TSFACE_SYSLOG_AUTHPRIV;
    syslog->severity = NGX_HTTP_TSFACE_SYSLOG_INFO;
    ngx_str_set(&syslog->app_name, "tsface");
    ngx_str_set(&syslog->sd_id, "tsface@" NGX_HTTP_TSFACE_SYSLOG_ENTERPRISE);
    syslog->timeout = NGX_HTTP_TSFACE_SYSLOG_SEND_TIMEOUT;

    params = ngx_http_tsface_syslog_params;
    value = cf->args->elts;
    seen = 0;

    for (i = 1; i < cf->args->nelts; i++) {

        for (n = 0; params[n].set; n++) {
            if (ngx_strncmp(value[i].data, params[n].name.data,
                            params[n].name.len)
                == 0)
            {
                break;
            }
        }

        if (params[n].set == NULL || (seen & (1 << n))) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "%s parameter \"%V\" of \"syslog\"",
                               params[n].set ? "duplicate" : "unknown",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        seen |= 1 << n;

        value[i].data += params[n].name.len;
        value[i].len -= params[n].name.len;

        rv = params[n].set(cf, syslog, &value[i]);

        if (rv == NGX_CONF_ERROR) {
            return rv;
        }

        if (rv != NGX_CONF_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V%V\" of \"syslog\": "
                               "%s", &params[n].name, &value[i], rv);
            return NGX_CONF_ERROR;
        }
    }

    if (!(seen & 1)) {
        return "needs \"server=ADDRESS:PORT\" or \"server=unix:PATH\"";
    }

    *field = syslog;

    return NGX_CONF_OK;
}


/* Names are resolved here, once, as those of proxy_pass are. */

static char *
ngx_http_tsface_syslog_server(ngx_conf_t *cf, ngx_http_tsface_syslog_t *syslog,
    ngx_str_t *value)
{
    ngx_url_t  u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *value;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {

        if (u.err) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "%s in \"server=%V\" of \"syslog\"",
                               u.err, value);
        }

        return NGX_CONF_ERROR;
    }

    if (u.uri.len) {
        return "it has a path";
    }

    if (u.family != AF_UNIX && u.no_port) {
        return "it must have a port";
    }

    if (u.naddrs == 0) {
        return "it has no address";
    }

    syslog->server = *value;
    syslog->addrs = u.addrs;
    syslog->naddrs = u.naddrs;

    return NGX_CONF_OK;
}


static char *
ngx_http_tsface_syslog_facility(ngx_conf_t *cf,
    ngx_http_tsface_syslog_t *syslog, ngx_str_t *value)
{
    return ngx_http_tsface_syslog_word(ngx_http_tsface_syslog_facilities,
                                       value, &syslog->facility);
}


static char *
ngx_http_tsface_syslog_severity(ngx_conf_t *cf,
    ngx_http_tsface_syslog_t *syslog, ngx_str_t *value)
{
    return ngx_http_tsface_syslog_word(ngx_http_tsface_syslog_severities,
                                       value, &syslog->severity);
}


static char *
ngx_http_tsface_syslog_app_name(ngx_conf_t *cf,
    ngx_http_tsface_syslog_t *syslog, ngx_str_t *value)
{
    ngx_uint_t  i;

    if (value->len == 0 || value->len > NGX_HTTP_TSFACE_SYSLOG_APP_MAX) {
        return "1 to 48 characters are allowed";
    }

    for (i = 0; i < value->len; i++) {
        if (value->data[i] <= ' ' || value->data[i] >= 0x7f) {
            return "only visible ASCII is allowed";
        }
    }

    syslog->app_name = *value;

    return NGX_CONF_OK;
}


static char *
ngx_http_tsface_syslog_enterprise(ngx_conf_t *cf,
    ngx_http_tsface_syslog_t *syslog, ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR || n == 0 || value->len > 10) {
        return "a private enterprise number is expected";
    }

    syslog->sd_id.data = ngx_pnalloc(cf->pool,
                                     sizeof("tsface@") - 1 + value->len);
    if (syslog->sd_id.data == NULL) {
        return NGX_CONF_ERROR;
    }

    syslog->sd_id.len = ngx_sprintf(syslog->sd_id.data, "tsface@%i", n)
                        - syslog->sd_id.data;

    return NGX_CONF_OK;
}


static char *
ngx_http_tsface_syslog_timeout(ngx_conf_t *cf,
    ngx_http_tsface_syslog_t *syslog, ngx_str_t *value)
{
    ngx_int_t  ms;

    ms = ngx_parse_time(value, 0);

    if (ms == NGX_ERROR) {
        return "a time is expected";
    }

    syslog->timeout = ms;

    return ngx_http_tsface_timeout_post.post_handler(cf,
                                               &ngx_http_tsface_timeout_post,
                                               &syslog->timeout);
}


static char *
ngx_http_tsface_syslog_word(const char *const *words, const ngx_str_t *value,
    ngx_uint_t *number)
{
    ngx_uint_t  i;

    for (i = 0; words[i]; i++) {

        if (ngx_strlen(words[i]) == value->len
            && ngx_strncmp(words[i], value->data, value->len) == 0)
        {
            *number = i;
            return NGX_CONF_OK;
        }
    }

    return "no such name";
}
