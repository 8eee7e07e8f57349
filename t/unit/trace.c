
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: trace.c */


#include "tap.h"

#include "ngx_http_tsface_trace.h"


#define ID      "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN    "00f067aa0ba902b7"
#define VALID   "00-" ID "-" SPAN "-01"
#define SENT    "traceparent: " VALID CRLF

#define TEN     "abcdefghij"
#define FIFTY   TEN TEN TEN TEN TEN
#define N256    FIFTY FIFTY FIFTY FIFTY FIFTY "abcdef"
#define N250    FIFTY FIFTY FIFTY FIFTY FIFTY


static ngx_table_elt_t  elts[64];
static u_char           lower[64][16];


/* A list of n fields: name, value, ...; two in each part of the list. */

static const ngx_list_t *
fields(const char *const *field, size_t n)
{
    size_t                  i, len, j;
    static ngx_list_t       list;
    static ngx_list_part_t  parts[32];

    memset(&list, 0, sizeof(list));
    memset(parts, 0, sizeof(parts));

    for (i = 0; i < n; i++) {
        len = strlen(field[2 * i]);

        for (j = 0; j < len; j++) {
            lower[i][j] = (u_char) (field[2 * i][j] | 0x20);
        }

        elts[i].key.len = len;
        elts[i].key.data = (u_char *) field[2 * i];
        elts[i].lowcase_key = lower[i];
        elts[i].value = bytes(field[2 * i + 1], strlen(field[2 * i + 1]));
    }

    /* the list's own part is empty, as one that was just made */

    list.part.next = n ? parts : NULL;

    for (i = 0; i < n; i += 2) {
        parts[i / 2].elts = &elts[i];
        parts[i / 2].nelts = (n - i > 1) ? 2 : 1;
        parts[i / 2].next = (i + 2 < n) ? &parts[i / 2 + 1] : NULL;
    }

    return &list;
}


/* What is sent on for the fields; also checks what is said of it. */

static const char *
sent(const char *const *field, size_t n)
{
    u_char                   *p;
    static u_char             out[NGX_HTTP_TSFACE_TRACE_MAX + 1];
    ngx_http_tsface_trace_t   trace;

    memset(&trace, 'x', sizeof(trace));
    memset(out, '#', sizeof(out));

    ngx_http_tsface_trace_read(&trace, fields(field, n));

    p = ngx_http_tsface_trace_write(out, &trace);
    check(p <= out + NGX_HTTP_TSFACE_TRACE_MAX, "%td bytes", p - out);
    *p = '\0';

    if (p == out) {
        check(trace.id.len == 0 && trace.parent.len == 0, "no ids");

    } else {
        check(same(&trace.id, ID), "the id");
        check(same(&trace.parent, SPAN), "the parent");
    }

    tap_free();

    return (const char *) out;
}


static void
parents(void)
{
    size_t       i;
    const char  *got, *field[2];

    static const struct {
        const char  *value;
        const char  *sent;
    } rows[] = {
        { VALID, SENT },
        { "00-" ID "-" SPAN "-00", "traceparent: 00-" ID "-" SPAN "-00" CRLF },
        { "00-" ID "-" SPAN "-ff", "traceparent: 00-" ID "-" SPAN "-ff" CRLF },

        { "", "" },
        { "00", "" },
        { "00-" ID "-" SPAN "-0", "" },
        { "00-" ID "-" SPAN "-01-", "" },
        { "00-" ID "-" SPAN "-01 ", "" },
        { "00-" ID "-" SPAN "-01-x", "" },
        { "00-" ID "-" SPAN "-0g", "" },
        { "00-" ID "-" SPAN "-0A", "" },
        { "00-4BF92f3577b34da6a3ce929d0e0e4736-" SPAN "-01", "" },
        { "00-" ID "-00F067aa0ba902b7-01", "" },
        { "00_" ID "-" SPAN "-01", "" },
        { "00-" ID "_" SPAN "-01", "" },
        { "00-" ID "-" SPAN "_01", "" },
        { "00-00000000000000000000000000000000-" SPAN "-01", "" },
        { "00-" ID "-0000000000000000-01", "" },
        { " " VALID, "" },
        { "0-" ID "-" SPAN "-011", "" },
        { "0g-" ID "-" SPAN "-01", "" },
        { "ff-" ID "-" SPAN "-01", "" },
        { "FF-" ID "-" SPAN "-01", "" },
        { "ff-" ID "-" SPAN "-01-more", "" },

        /* a version to come: what 00 has of it */

        { "01-" ID "-" SPAN "-01", SENT },
        { "fe-" ID "-" SPAN "-01", SENT },
        { "f0-" ID "-" SPAN "-01-what.may;come", SENT },
        { "0f-" ID "-" SPAN "-09-", SENT },
        { "01-" ID "-" SPAN "-ff", SENT },
        { "01-" ID "-" SPAN "-0b", SENT },
        { "01-" ID "-" SPAN "-fe",
          "traceparent: 00-" ID "-" SPAN "-00" CRLF },
        { "01-" ID "-" SPAN "-08",
          "traceparent: 00-" ID "-" SPAN "-00" CRLF },
        { "01-" ID "-" SPAN "-01x", "" },
        { "01-" ID "-" SPAN "-01 -", "" }
    };

    field[0] = "Traceparent";

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        field[1] = rows[i].value;
        got = sent(field, 1);
        check(strcmp(got, rows[i].sent) == 0, "%s: %s", rows[i].value, got);
    }

    done("traceparent");
}


static void
states(void)
{
    size_t       i;
    const char  *got, *field[4];
    char         want[1024];

    /* the same, or nothing */

    static const struct {
        const char  *value;
        int          valid;
    } rows[] = {
        { "a=1", 1 },
        { "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", 1 },
        { "a=1 , b=2,\t,c=3", 1 },
        { "0@z=1,t@s/y_s-*=x y", 1 },
        { "a=!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~", 1 },
        { N256 "=1", 1 },
        { "a=" N256, 1 },
        { "k=" N250 ",k=" N250 ",a=1234", 1 },
        { "a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1,o=1,p=1,"
          "a=2,b=2,c=2,d=2,e=2,f=2,g=2,h=2,i=2,j=2,k=2,l=2,m=2,n=2,o=2,p=2",
          1 },

        { "", 0 },
        { " , ,", 0 },
        { "a", 0 },
        { "a=", 0 },
        { "=1", 0 },
        { "a=1=2", 0 },
        { "A=1", 0 },
        { "_a=1", 0 },
        { "@a=1", 0 },
        { "a b=1", 0 },
        { "a=1\tb", 0 },
        { "a=1\x7f", 0 },
        { "a=\xc3\xa4", 0 },
        { "a=1\r\nAuthorization: x", 0 },
        { "a=1,B=2", 0 },
        { N256 "x=1", 0 },
        { "a=" N256 "x", 0 },
        { "k=" N250 ",k=" N250 ",a=12345", 0 },
        { "a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1,o=1,p=1,"
          "a=2,b=2,c=2,d=2,e=2,f=2,g=2,h=2,i=2,j=2,k=2,l=2,m=2,n=2,o=2,p=2,"
          "q=2", 0 }
    };

    field[0] = "tracestate";
    field[2] = "traceparent";
    field[3] = VALID;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        field[1] = rows[i].value;

        snprintf(want, sizeof(want), "%s%s%s%s", SENT,
                 rows[i].valid ? "tracestate: " : "",
                 rows[i].valid ? rows[i].value : "",
                 rows[i].valid ? CRLF : "");

        got = sent(field, 2);
        check(strcmp(got, want) == 0, "%s: %s", rows[i].value, got);
    }

    done("tracestate");
}


static void
several(void)
{
    const char  *got;

    static const char *const  none[] = { "Accept", "*/*" };
    static const char *const  twice[] = {
        "traceparent", VALID, "traceparent", VALID
    };
    static const char *const  other[] = {
        "traceparent", "x", "Accept", "*/*", "Traceparent", VALID
    };
    static const char *const  alone[] = { "tracestate", "a=1" };
    static const char *const  invalid[] = {
        "tracestate", "a=1", "traceparent", "x"
    };
    static const char *const  joined[] = {
        "TraceState", "a=1", "tracestate", "", "traceparent", VALID,
        "tracestate", "b=2,c=3", "tracestates", "d=4"
    };
    static const char *const  one_bad[] = {
        "tracestate", "a=1", "traceparent", VALID, "tracestate", "B"
    };
    static const char *const  full[] = {
        "tracestate", "k=" N250, "traceparent", VALID,
        "tracestate", "k=" N250, "tracestate", "a=1234"
    };
    static const char *const  over[] = {
        "tracestate", "k=" N250, "traceparent", VALID,
        "tracestate", "k=" N250, "tracestate", "a=12345"
    };

#define expect(field, want)                                                   \
    got = sent(field, sizeof(field) / sizeof(field[0]) / 2);                  \
    check(strcmp(got, want) == 0, "%s", got)

    got = sent(none, 0);
    check(*got == '\0', "%s", got);

    expect(none, "");
    expect(twice, "");
    expect(other, "");
    expect(alone, "");
    expect(invalid, "");
    expect(joined, SENT "tracestate: a=1,b=2,c=3" CRLF);
    expect(one_bad, SENT);
    expect(full, SENT "tracestate: k=" N250 ",k=" N250 ",a=1234" CRLF);
    expect(over, SENT);

    done("several fields");
}


int
main(void)
{
    parents();
    states();
    several();

    return tap_end();
}
