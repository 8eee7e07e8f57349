
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * W3C Trace Context: which trace a request is part of, and what of it is sent
 * on.  Pure.
 */


#ifndef _NGX_HTTP_TSFACE_TRACE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRACE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* "00-", 32 digits, "-", 16 digits, "-", 2 digits */
#define NGX_HTTP_TSFACE_TRACE_PARENT      55
#define NGX_HTTP_TSFACE_TRACE_ID          32
#define NGX_HTTP_TSFACE_TRACE_SPAN        16

/* of all tracestate together; the standard asks for no more */
#define NGX_HTTP_TSFACE_TRACE_STATE       512
#define NGX_HTTP_TSFACE_TRACE_MEMBERS     32

/* what ngx_http_tsface_trace_write() writes at most */
#define NGX_HTTP_TSFACE_TRACE_MAX                                             \
    (sizeof("traceparent: " CRLF "tracestate: " CRLF) - 1                     \
     + NGX_HTTP_TSFACE_TRACE_PARENT + NGX_HTTP_TSFACE_TRACE_STATE)


/*
 * Of a request.  id and parent point into traceparent, which has the form of
 * version 00 whatever the version that came; id.len is 0 if the request is
 * part of no trace that can be told.
 */
typedef struct {
    ngx_str_t          id;
    ngx_str_t          parent;
    u_char             traceparent[NGX_HTTP_TSFACE_TRACE_PARENT];
    size_t             state;      /* bytes of tracestate; 0: none is sent */
    const ngx_list_t  *headers;
} ngx_http_tsface_trace_t;


/*
 * Reads the header fields (a list of ngx_table_elt_t) of a request into trace,
 * which must stay where it is, and the fields as long as it is used.  One
 * valid traceparent counts, two or an invalid one do not; tracestate counts
 * with it, if all of it is valid and within the limits.
 */
void ngx_http_tsface_trace_read(ngx_http_tsface_trace_t *trace,
    const ngx_list_t *headers);

/*
 * Writes the header fields to send on at p, each with its CRLF: nothing, if
 * there is no trace.  Returns where they end.
 */
u_char *ngx_http_tsface_trace_write(u_char *p,
    const ngx_http_tsface_trace_t *trace);


#endif /* _NGX_HTTP_TSFACE_TRACE_H_INCLUDED_ */
