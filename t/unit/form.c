
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: form.c */


#include "tap.h"

#include "ngx_http_tsface_form.h"


static void
texts(void)
{
    size_t     i, len;
    u_char    *buf, *p;
    ngx_str_t  value;

    static const struct {
        const char  *text;
        const char  *encoded;
    } rows[] = {
        { "", "" },
        { "AZaz09-._*", "AZaz09-._*" },
        { "a b  c", "a+b++c" },
        { "+&=%", "%2B%26%3D%25" },
        { "~:/?#[]@!$'(),;", "%7E%3A%2F%3F%23%5B%5D%40%21%24%27%28%29%2C%3B" },
        { "\r\n\t\"\\", "%0D%0A%09%22%5C" },
        { "\x01\x7f\x80\xff", "%01%7F%80%FF" },
        { "gr\xc3\xbc\xc3\x9f", "gr%C3%BC%C3%9F" }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        value = text(rows[i].text);

        len = ngx_http_tsface_form_len(&value);

        check(len == strlen(rows[i].encoded), "row %zu: %zu", i, len);

        /* of that size, so that the sanitizer sees what len() forgot */

        buf = malloc(len ? len : 1);
        p = ngx_http_tsface_form_encode(buf, &value);

        check((size_t) (p - buf) == len
              && memcmp(buf, rows[i].encoded, len) == 0,
              "row %zu: %.*s", i, (int) (p - buf), (char *) buf);

        free(buf);
    }

    done("texts");
}


/* Every byte, decoded again as a server does. */

static void
every_byte(void)
{
    int        i;
    u_char     ch, buf[4], *p;
    unsigned   n;
    ngx_str_t  value;

    value.data = &ch;
    value.len = 1;

    for (i = 0; i < 256; i++) {
        ch = (u_char) i;
        p = ngx_http_tsface_form_encode(buf, &value);

        check((size_t) (p - buf) == ngx_http_tsface_form_len(&value),
              "byte %d", i);

        if (p - buf == 1) {
            check(buf[0] == ((ch == ' ') ? '+' : ch), "byte %d", i);
            check(strchr("&=%", buf[0]) == NULL, "byte %d", i);
            continue;
        }

        *p = '\0';

        check(p - buf == 3 && sscanf((char *) buf, "%%%2X", &n) == 1
              && n == ch, "byte %d", i);
    }

    done("every byte");
}


int
main(void)
{
    texts();
    every_byte();

    return tap_end();
}
