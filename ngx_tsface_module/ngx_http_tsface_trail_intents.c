
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_record_text.h"
#include "ngx_http_tsface_trail_intents.h"


#define NGX_HTTP_TSFACE_TRAIL_INTENTS_HOST      256

#define NGX_HTTP_TSFACE_TRAIL_INTENTS_INTENT                                  \
    NGX_HTTP_TSFACE_RECORD_TYPE "intent\""
#define NGX_HTTP_TSFACE_TRAIL_INTENTS_OUTCOME                                 \
    NGX_HTTP_TSFACE_RECORD_TYPE "outcome\""
#define NGX_HTTP_TSFACE_TRAIL_INTENTS_REFUSAL                                 \
    NGX_HTTP_TSFACE_RECORD_TYPE "refusal\""

#define NGX_HTTP_TSFACE_TRAIL_INTENTS_HOST_KEY  ",\"host\":"
#define NGX_HTTP_TSFACE_TRAIL_INTENTS_PID       ",\"pid\":"
#define NGX_HTTP_TSFACE_TRAIL_INTENTS_ID        ",\"request_id\":\""
#define NGX_HTTP_TSFACE_TRAIL_INTENTS_ATTEMPT   ",\"attempt\":"
#define NGX_HTTP_TSFACE_TRAIL_INTENTS_ORPHANED                                \
    ",\"result\":\"unknown\",\"reason\":\"orphaned\""

#define ngx_http_tsface_trail_intents_is(s, literal)                          \
    ((s)->len >= sizeof(literal) - 1                                          \
     && ngx_memcmp((s)->data, literal, sizeof(literal) - 1) == 0)


static ngx_int_t ngx_http_tsface_trail_intents_add(
    ngx_http_tsface_trail_intents_t *intents, const ngx_str_t *line,
    const ngx_http_tsface_trail_intent_t *record);
static ngx_int_t ngx_http_tsface_trail_intents_parse(
    ngx_http_tsface_trail_intent_t *intent);
static u_char *ngx_http_tsface_trail_intents_find(const ngx_str_t *body,
    u_char *p, const char *key);
static ngx_int_t ngx_http_tsface_trail_intents_number(const ngx_str_t *body,
    u_char **p);
static ngx_http_tsface_trail_intent_t *ngx_http_tsface_trail_intents_lookup(
    ngx_http_tsface_trail_intents_t *intents,
    const ngx_http_tsface_trail_intent_t *record);
static void ngx_http_tsface_trail_intents_clear(
    ngx_http_tsface_trail_intents_t *intents);


ngx_int_t
ngx_http_tsface_trail_intents_init(ngx_http_tsface_trail_intents_t *intents,
    const ngx_str_t *key, const ngx_str_t *previous, const ngx_str_t *host)
{
    u_char  *p;

    ngx_memzero(intents, sizeof(ngx_http_tsface_trail_intents_t));

    ngx_queue_init(&intents->open);

    intents->chains = calloc(NGX_HTTP_TSFACE_TRAIL_INTENTS_CHAINS,
                             sizeof(ngx_http_tsface_trail_intent_t *));

    intents->host = malloc(NGX_HTTP_TSFACE_TRAIL_INTENTS_HOST + 16);

    intents->key = ngx_http_tsface_record_key_new(key);

    if (previous) {
        intents->previous = ngx_http_tsface_record_key_new(previous);
    }


    if (intents->chains == NULL || intents->host == NULL
        || intents->key == NULL || (previous && intents->previous == NULL))
    {
        return NGX_ERROR;
    }

    p = ngx_http_tsface_record_put(intents->host,
                                   NGX_HTTP_TSFACE_TRAIL_INTENTS_HOST_KEY);
    p = ngx_http_tsface_record_quoted(p, host,
                                      NGX_HTTP_TSFACE_TRAIL_INTENTS_HOST);
    *p++ = ',';

    intents->host_len = p - intents->host;

    return NGX_OK;
}


void
ngx_http_tsface_trail_intents_free(ngx_http_tsface_trail_intents_t *intents)
{
    ngx_http_tsface_trail_intents_clear(intents);

    ngx_http_tsface_record_key_free(intents->key);
    ngx_http_tsface_record_key_free(intents->previous);

    free(intents->chains);
    free(intents->host);
}


ngx_int_t
ngx_http_tsface_trail_intents_line(ngx_http_tsface_trail_intents_t *intents,
    const ngx_str_t *line)
{
    ngx_int_t                        rc;
    ngx_uint_t                       type;
    ngx_http_tsface_trail_intent_t   record, *intent;

    ngx_memzero(&record, sizeof(ngx_http_tsface_trail_intent_t));

    if (ngx_http_tsface_record_split(line, &record.seq, &record.time,
                                     &record.body)
        != NGX_OK)
    {
        ngx_http_tsface_trail_intents_reset(intents);
        return NGX_OK;
    }

    if (!intents->known && record.seq == 1) {
        ngx_memset(intents->mac, '0', NGX_HTTP_TSFACE_RECORD_MAC_LEN);
        intents->seq = 0;
        intents->known = 1;
    }

    if (intents->known
        && (record.seq != intents->seq + 1
            || (ngx_http_tsface_record_verify(line, intents->key, intents->mac)
                != NGX_OK
                && ngx_http_tsface_record_verify(line, intents->previous,
                                                 intents->mac)
                   != NGX_OK)))
    {
        ngx_http_tsface_trail_intents_reset(intents);
    }

    rc = NGX_OK;

    type = ngx_http_tsface_trail_intents_is(&record.body,
                                     NGX_HTTP_TSFACE_TRAIL_INTENTS_INTENT)
           ? NGX_HTTP_TSFACE_RECORD_INTENT

         : (ngx_http_tsface_trail_intents_is(&record.body,
                                      NGX_HTTP_TSFACE_TRAIL_INTENTS_OUTCOME)
            || ngx_http_tsface_trail_intents_is(&record.body,
                                      NGX_HTTP_TSFACE_TRAIL_INTENTS_REFUSAL))
           ? NGX_HTTP_TSFACE_RECORD_OUTCOME

         : NGX_HTTP_TSFACE_RECORD_OPEN;

    /* the first one is checked with nothing: it is not ours to speak for */

    if (type != NGX_HTTP_TSFACE_RECORD_OPEN
        && ngx_http_tsface_trail_intents_parse(&record) == NGX_OK)
    {
        intent = ngx_http_tsface_trail_intents_lookup(intents, &record);

        if (type == NGX_HTTP_TSFACE_RECORD_INTENT) {

            if (intent == NULL && intents->known) {
                rc = ngx_http_tsface_trail_intents_add(intents, line, &record);
            }

        } else if (intent) {
            ngx_http_tsface_trail_intents_remove(intents, intent);
        }
    }

    (void) ngx_http_tsface_record_parse_tail(line, &intents->seq,
                                             intents->mac);
    intents->known = 1;

    return rc;
}


void
ngx_http_tsface_trail_intents_reset(ngx_http_tsface_trail_intents_t *intents)
{
    ngx_http_tsface_trail_intents_clear(intents);

    intents->known = 0;
}


static ngx_int_t
ngx_http_tsface_trail_intents_add(ngx_http_tsface_trail_intents_t *intents,
    const ngx_str_t *line, const ngx_http_tsface_trail_intent_t *record)
{
    u_char                           *p;
    ngx_http_tsface_trail_intent_t   *intent, **chain;

    /* another machine's: it looks after its own */

    p = ngx_http_tsface_trail_intents_find(&record->body, record->body.data,
                                       NGX_HTTP_TSFACE_TRAIL_INTENTS_HOST_KEY);

    if (p == NULL) {
        return NGX_OK;
    }

    p -= sizeof(NGX_HTTP_TSFACE_TRAIL_INTENTS_HOST_KEY) - 1;

    if ((size_t) (line->data + line->len - p) < intents->host_len
        || ngx_memcmp(p, intents->host, intents->host_len) != 0)
    {
        return NGX_OK;
    }

    if (intents->n >= NGX_HTTP_TSFACE_TRAIL_INTENTS_MAX
        || intents->bytes + line->len > NGX_HTTP_TSFACE_TRAIL_INTENTS_BYTES)
    {
        intents->left_out++;
        return NGX_OK;
    }

    intent = malloc(sizeof(ngx_http_tsface_trail_intent_t) + line->len);
    if (intent == NULL) {
        return NGX_ERROR;
    }

    *intent = *record;

    p = ngx_cpymem(intent + 1, line->data, line->len) - line->len;

    intent->len = line->len;
    intent->request_id.data = p + (record->request_id.data - line->data);
    intent->time.data = p + (record->time.data - line->data);
    intent->body.data = p + (record->body.data - line->data);

    chain = &intents->chains[intent->hash
                             % NGX_HTTP_TSFACE_TRAIL_INTENTS_CHAINS];
    intent->next = *chain;
    *chain = intent;

    ngx_queue_insert_tail(&intents->open, &intent->queue);

    intents->n++;
    intents->bytes += line->len;

    return NGX_OK;
}


void
ngx_http_tsface_trail_intents_remove(ngx_http_tsface_trail_intents_t *intents,
    ngx_http_tsface_trail_intent_t *intent)
{
    ngx_http_tsface_trail_intent_t  **p;

    p = &intents->chains[intent->hash % NGX_HTTP_TSFACE_TRAIL_INTENTS_CHAINS];

    while (*p != intent) {
        p = &(*p)->next;
    }

    *p = intent->next;

    ngx_queue_remove(&intent->queue);

    intents->n--;
    intents->bytes -= intent->len;

    free(intent);
}


/*
 * A quote inside of a string is escaped, so that a key with its quotes is
 * found nowhere else; and all of these come before the strings of a caller.
 */

static ngx_int_t
ngx_http_tsface_trail_intents_parse(ngx_http_tsface_trail_intent_t *record)
{
    u_char      *p;
    uint32_t     hash;
    ngx_str_t   *body;
    ngx_uint_t   i;

    body = &record->body;

    p = ngx_http_tsface_trail_intents_find(body, body->data,
                                           NGX_HTTP_TSFACE_TRAIL_INTENTS_PID);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    record->pid = ngx_http_tsface_trail_intents_number(body, &p);

    p = ngx_http_tsface_trail_intents_find(body, p,
                                           NGX_HTTP_TSFACE_TRAIL_INTENTS_ID);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    record->request_id.data = p;

    p = ngx_http_tsface_trail_intents_find(body, p,
                                       NGX_HTTP_TSFACE_TRAIL_INTENTS_ATTEMPT);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    record->request_id.len = p - record->request_id.data
                     - (sizeof(NGX_HTTP_TSFACE_TRAIL_INTENTS_ATTEMPT) - 1);

    record->attempt = ngx_http_tsface_trail_intents_number(body, &p);

    if (record->pid == NGX_ERROR || record->attempt == NGX_ERROR) {
        return NGX_DECLINED;
    }

    hash = (uint32_t) record->attempt;

    for (i = 0; i < record->request_id.len; i++) {
        hash = (hash ^ record->request_id.data[i]) * 16777619;
    }

    record->hash = hash ^ (hash >> 15);

    return NGX_OK;
}


/* Behind the first key at or after p, or NULL. */

static u_char *
ngx_http_tsface_trail_intents_find(const ngx_str_t *body, u_char *p,
    const char *key)
{
    size_t   len;
    u_char  *found;

    len = ngx_strlen(key);

    found = memmem(p, body->data + body->len - p, key, len);

    return found ? found + len : NULL;
}


static ngx_int_t
ngx_http_tsface_trail_intents_number(const ngx_str_t *body, u_char **p)
{
    u_char     *start;
    ngx_int_t   n;

    start = *p;
    n = 0;

    while (*p < body->data + body->len && **p >= '0' && **p <= '9') {

        if (*p - start == 9) {
            return NGX_ERROR;
        }

        n = n * 10 + (*(*p)++ - '0');
    }

    return *p == start ? NGX_ERROR : n;
}


static ngx_http_tsface_trail_intent_t *
ngx_http_tsface_trail_intents_lookup(ngx_http_tsface_trail_intents_t *intents,
    const ngx_http_tsface_trail_intent_t *record)
{
    ngx_http_tsface_trail_intent_t  *intent;

    intent = intents->chains[record->hash
                             % NGX_HTTP_TSFACE_TRAIL_INTENTS_CHAINS];

    while (intent
           && (intent->attempt != record->attempt
               || intent->request_id.len != record->request_id.len
               || ngx_memcmp(intent->request_id.data, record->request_id.data,
                             record->request_id.len)
                  != 0))
    {
        intent = intent->next;
    }

    return intent;
}


static void
ngx_http_tsface_trail_intents_clear(ngx_http_tsface_trail_intents_t *intents)
{
    ngx_queue_t  *q;

    if (intents->n == 0) {
        return;
    }

    while (!ngx_queue_empty(&intents->open)) {
        q = ngx_queue_head(&intents->open);
        ngx_queue_remove(q);

        free(ngx_queue_data(q, ngx_http_tsface_trail_intent_t, queue));
    }

    ngx_memzero(intents->chains, NGX_HTTP_TSFACE_TRAIL_INTENTS_CHAINS
                                 * sizeof(ngx_http_tsface_trail_intent_t *));
    intents->n = 0;
    intents->bytes = 0;
}


size_t
ngx_http_tsface_trail_intents_outcome(
    const ngx_http_tsface_trail_intent_t *intent, ngx_int_t pid, u_char *buf)
{
    size_t   head, tail;
    u_char  *p, *start, *end;

    start = intent->body.data
            + sizeof(NGX_HTTP_TSFACE_TRAIL_INTENTS_INTENT) - 1;

    p = ngx_http_tsface_trail_intents_find(&intent->body, start,
                                           NGX_HTTP_TSFACE_TRAIL_INTENTS_PID);
    if (p == NULL) {
        return 0;
    }

    head = p - start;

    end = p;
    (void) ngx_http_tsface_trail_intents_number(&intent->body, &end);

    tail = intent->body.data + intent->body.len - end;

    if (sizeof(NGX_HTTP_TSFACE_TRAIL_INTENTS_OUTCOME)
        + head + NGX_INT64_LEN + tail
        + sizeof(NGX_HTTP_TSFACE_TRAIL_INTENTS_ORPHANED)
        > NGX_HTTP_TSFACE_RECORD_BODY_MAX)
    {
        return 0;
    }

    p = ngx_http_tsface_record_put(buf, NGX_HTTP_TSFACE_TRAIL_INTENTS_OUTCOME);
    p = ngx_cpymem(p, start, head);
    p = ngx_http_tsface_record_decimal(p, (uint64_t) pid);
    p = ngx_cpymem(p, end, tail);
    p = ngx_http_tsface_record_put(p, NGX_HTTP_TSFACE_TRAIL_INTENTS_ORPHANED);

    return p - buf;
}
