
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: accept.c */


#include "tap.h"

#include "ngx_http_tsface_accept.h"


static ngx_uint_t
prometheus(const char *one, const char *two)
{
    ngx_str_t                 value;
    ngx_http_tsface_accept_t  accept;

    memset(&accept, 0, sizeof(accept));

    value = text(one);
    ngx_http_tsface_accept_line(&accept, &value);

    value = text(two);
    ngx_http_tsface_accept_line(&accept, &value);

    return ngx_http_tsface_accept_prometheus(&accept);
}


static void
lines(void)
{
    size_t  i;

    static const struct {
        const char   *accept;
        ngx_uint_t    prometheus;
    } rows[] = {
        { "", 0 },
        { "*/*", 0 },
        { "application/json", 0 },
        { "text/plain", 1 },
        { "TEXT/Plain", 1 },
        { "text/*", 1 },
        { "application/openmetrics-text", 1 },
        { "text/plain;version=0.0.4", 1 },
        { " text/plain ; version=0.0.4 ; q=0.5 ", 1 },
        { "text/plain,application/json", 0 },
        { "application/json;q=0.5, text/plain", 1 },
        { "application/json;q=0.5, text/plain;q=0.4", 0 },
        { "application/*;q=0.3, text/plain;q=0.4", 1 },
        { "application/json, application/*;q=0.1, text/plain;q=0.4", 0 },
        { "text/plain;q=0", 0 },
        { "text/plain;q=0, application/json;q=0", 0 },
        { "text/*, text/plain;q=0, */*;q=0.5", 0 },
        { "text/plain;q=1.000", 1 },
        { "text/plain;q=0.001", 1 },
        { "text/plain;Q=0.5,*/*;q=0.499", 1 },
        { "text/plain;q=0.0", 0 },
        { "text/plain;q=1.5", 0 },
        { "text/plain;q=0.5x", 0 },
        { "text/plain;q=0.1234", 0 },
        { "text/plain;q=2", 0 },
        { "text/plain;q=", 1 },
        { "text/html,application/xhtml+xml,*/*;q=0.8", 0 },
        { "text/plainer, text/plai, xtext/plain", 0 },
        { "image/x;a=\",text/plain,\"", 0 },
        { "image/x;a=\"\\\",text/plain,\"", 0 },
        { "text/plain;a=\";q=0\"", 1 },
        { ",;,", 0 },
        { "application/openmetrics-text;version=1.0.0;charset=utf-8,"
          "application/openmetrics-text;version=0.0.1;q=0.75,"
          "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", 1 },
        { "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;"
          "q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
          "text/plain;version=1.0.0;q=0.3,*/*;q=0.1", 1 }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check(prometheus(rows[i].accept, "") == rows[i].prometheus, "\"%s\"",
              rows[i].accept);
    }

    check(prometheus("application/json;q=0.1", "text/plain") == 1,
          "in two lines");
    check(prometheus("text/plain;q=0.1", "application/json") == 0,
          "in two lines");

    done("which format an Accept header prefers");
}


static void
noise(void)
{
    size_t                    i, n;
    ngx_str_t                 value;
    ngx_http_tsface_accept_t  accept;

    static const char  chars[] = "text/plain*,;q=01.5\"\\ \t";

    for (n = 0; n < 20000; n++) {
        value.len = below(64);
        value.data = block(value.len);

        for (i = 0; i < value.len; i++) {
            value.data[i] = (u_char) chars[below(sizeof(chars))];
        }

        memset(&accept, 0, sizeof(accept));
        ngx_http_tsface_accept_line(&accept, &value);

        check(accept.plain <= 1001 && accept.any <= 1001, "%lu",
              (unsigned long) n);

        tap_free();
    }

    done("any bytes");
}


int
main(void)
{
    lines();
    noise();

    return tap_end();
}
