
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <inttypes.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "audit.h"


static int tsface_audit_checkpoints_take(tsface_audit_checkpoints_t *cp,
    const tsface_audit_reader_t *reader, const ngx_str_t *line,
    uint64_t *others);
static int tsface_audit_checkpoints_add(tsface_audit_checkpoints_t *cp,
    const ngx_str_t *line);
static ngx_uint_t tsface_audit_checkpoints_trail(
    const tsface_audit_checkpoints_t *cp, const ngx_str_t *trail);
static int tsface_audit_checkpoints_compare(const void *one, const void *two);
static int tsface_audit_checkpoints_password(char *buf, int size, int writing,
    void *data);


ngx_int_t
tsface_audit_checkpoints_key(tsface_audit_checkpoints_t *cp, const char *name)
{
    BIO       *bio;
    EVP_PKEY  *key;

    if (cp->nkeys == TSFACE_AUDIT_MAX_SIGNERS) {
        return NGX_DECLINED;
    }

    errno = 0;
    bio = BIO_new_file(name, "r");

    if (bio == NULL) {
        ERR_clear_error();
        return errno ? NGX_ERROR : NGX_DECLINED;
    }

    key = PEM_read_bio_PUBKEY(bio, NULL, tsface_audit_checkpoints_password,
                              NULL);
    BIO_free(bio);
    ERR_clear_error();

    if (key == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_http_tsface_record_signer(key, cp->ids[cp->nkeys]) != NGX_OK) {
        EVP_PKEY_free(key);
        return NGX_DECLINED;
    }

    cp->keys[cp->nkeys++] = key;

    return NGX_OK;
}


void
tsface_audit_checkpoints_free(tsface_audit_checkpoints_t *cp)
{
    ngx_uint_t  i;

    for (i = 0; i < cp->nkeys; i++) {
        EVP_PKEY_free(cp->keys[i]);
    }

    free(cp->known);
}


tsface_audit_checkpoint_e
tsface_audit_checkpoint(const tsface_audit_checkpoints_t *cp,
    const ngx_str_t *line, ngx_str_t *mark)
{
    ngx_str_t                         type, signer, signature;
    ngx_uint_t                        i;
    ngx_http_tsface_record_signed_t   what;

    ngx_str_null(mark);

    tsface_audit_line_type(line, &type);

    if (!tsface_audit_line_is(&type, "checkpoint")) {
        return TSFACE_AUDIT_CHECKPOINT_FORM;
    }

    tsface_audit_line_get(line, "trail", &what.trail);
    tsface_audit_line_get(line, "key_id", &what.key_id);
    tsface_audit_line_get(line, "mark", &what.mark);
    tsface_audit_line_get(line, "signer", &signer);
    tsface_audit_line_get(line, "signature", &signature);

    what.time.data = (u_char *) tsface_audit_line_time(line);
    what.time.len = TSFACE_AUDIT_TIME_LEN;

    *mark = what.mark;

    for (i = 0; i < cp->nkeys; i++) {
        if (signer.len == sizeof(cp->ids[i])
            && ngx_memcmp(signer.data, cp->ids[i], signer.len) == 0)
        {
            return ngx_http_tsface_record_sign_verify(cp->keys[i], &what,
                                                      &signature)
                   == NGX_OK
                   ? TSFACE_AUDIT_CHECKPOINT_OK
                   : TSFACE_AUDIT_CHECKPOINT_FORGED;
        }
    }

    return TSFACE_AUDIT_CHECKPOINT_SIGNER;
}


int
tsface_audit_checkpoints_read(tsface_audit_checkpoints_t *cp, char *name)
{
    int                    rc;
    uint64_t               others;
    ngx_str_t              line;
    tsface_audit_reader_e  what;
    tsface_audit_reader_t  reader;

    if (tsface_audit_reader_init(&reader, &name, 1) != NGX_OK) {
        return tsface_audit_no_memory();
    }

    others = 0;

    do {
        what = tsface_audit_reader_next(&reader, &line);

        switch (what) {

        case TSFACE_AUDIT_LINE:
            rc = tsface_audit_checkpoints_take(cp, &reader, &line, &others);
            break;

        case TSFACE_AUDIT_FAILED:
            rc = tsface_audit_unreadable(&reader);
            break;

        case TSFACE_AUDIT_END:
            rc = TSFACE_AUDIT_OK;
            break;

        default: /* TSFACE_AUDIT_TORN, TSFACE_AUDIT_LONG */
            rc = TSFACE_AUDIT_OK;
            others++;
        }

    } while (rc == TSFACE_AUDIT_OK && what != TSFACE_AUDIT_END);

    tsface_audit_reader_done(&reader);

    if (others) {
        fprintf(stderr, "tsface-audit: \"%s\": %" PRIu64 " lines are no "
                "checkpoints\n", name, others);
    }

    if (cp->nknown) {
        qsort(cp->known, cp->nknown, sizeof(tsface_audit_known_t),
              tsface_audit_checkpoints_compare);
    }

    return rc;
}


static int
tsface_audit_checkpoints_take(tsface_audit_checkpoints_t *cp,
    const tsface_audit_reader_t *reader, const ngx_str_t *line,
    uint64_t *others)
{
    u_char       mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    uint64_t     seq;
    ngx_str_t    mark;
    const char  *how;

    if (ngx_http_tsface_record_parse_tail(line, &seq, mac) != NGX_OK) {
        (*others)++;
        return TSFACE_AUDIT_OK;
    }

    switch (tsface_audit_checkpoint(cp, line, &mark)) {

    case TSFACE_AUDIT_CHECKPOINT_OK:
        return tsface_audit_checkpoints_add(cp, line);

    case TSFACE_AUDIT_CHECKPOINT_FORM:
        (*others)++;
        return TSFACE_AUDIT_OK;

    case TSFACE_AUDIT_CHECKPOINT_SIGNER:
        how = "is not signed with a --public-key that was given";
        break;

    default: /* TSFACE_AUDIT_CHECKPOINT_FORGED */
        how = "its signature is wrong";
    }

    printf("%s:%" PRIu64 ": checkpoint of seq %" PRIu64 ": %s\n"
           "NOT WHOLE: the checkpoints are not\n",
           reader->name, reader->number, seq, how);

    return TSFACE_AUDIT_BROKEN;
}


/*
 * Known is what was signed, the record that a checkpoint is of: the rest of
 * its line is worth no more than the file that it is in.
 */
static int
tsface_audit_checkpoints_add(tsface_audit_checkpoints_t *cp,
    const ngx_str_t *line)
{
    size_t                 size;
    ngx_str_t              trail, mark;
    ngx_uint_t             n;
    tsface_audit_mark_t    place;
    tsface_audit_known_t  *known;

    tsface_audit_line_get(line, "trail", &trail);
    tsface_audit_line_get(line, "mark", &mark);

    n = tsface_audit_checkpoints_trail(cp, &trail);

    if (n == cp->nnames) {

        if (n == TSFACE_AUDIT_MAX_TRAILS
            || trail.len > TSFACE_AUDIT_TRAIL_LEN)
        {
            fprintf(stderr, "tsface-audit: checkpoints of too many trails\n");
            return TSFACE_AUDIT_USAGE;
        }

        ngx_memcpy(cp->names[n], trail.data, trail.len);
        cp->lens[n] = trail.len;
        cp->nnames++;
    }

    if (tsface_audit_mark_read(&place, mark.data, mark.len) != NGX_OK) {
        fprintf(stderr, "tsface-audit: a checkpoint has no mark\n");
        return TSFACE_AUDIT_USAGE;
    }

    if (cp->nknown == cp->size) {
        size = cp->size ? 2 * cp->size : 1024;

        known = realloc(cp->known, size * sizeof(tsface_audit_known_t));
        if (known == NULL) {
            return tsface_audit_no_memory();
        }

        cp->known = known;
        cp->size = size;
    }

    known = &cp->known[cp->nknown++];

    known->seq = place.seq;
    known->trail = n;
    ngx_memcpy(known->mac, place.mac, sizeof(known->mac));

    return TSFACE_AUDIT_OK;
}


uint64_t
tsface_audit_checkpoints_of(const tsface_audit_checkpoints_t *cp,
    const ngx_str_t *line)
{
    ngx_str_t   trail;
    ngx_uint_t  n;

    if (cp->nknown == 0) {
        return 0;
    }

    tsface_audit_line_get(line, "trail", &trail);

    n = tsface_audit_checkpoints_trail(cp, &trail);

    return n < cp->nnames ? (uint64_t) 1 << n : 0;
}


ngx_uint_t
tsface_audit_checkpoints_match(const tsface_audit_checkpoints_t *cp,
    size_t *cursor, uint64_t trails, uint64_t seq, const u_char *mac)
{
    size_t                       i;
    const tsface_audit_known_t  *known;

    i = *cursor;

    while (i < cp->nknown && cp->known[i].seq < seq) {
        i++;
    }

    *cursor = i;

    for ( /* void */ ; i < cp->nknown && cp->known[i].seq == seq; i++) {
        known = &cp->known[i];

        if ((trails >> known->trail & 1)
            && ngx_memcmp(known->mac, mac, sizeof(known->mac)) != 0)
        {
            return 0;
        }
    }

    return 1;
}


const tsface_audit_known_t *
tsface_audit_checkpoints_last(const tsface_audit_checkpoints_t *cp,
    size_t cursor, uint64_t trails)
{
    size_t  i;

    for (i = cp->nknown; i > cursor; i--) {
        if (trails >> cp->known[i - 1].trail & 1) {
            return &cp->known[i - 1];
        }
    }

    return NULL;
}


/* Its number; nnames: there is nothing of that name. */
static ngx_uint_t
tsface_audit_checkpoints_trail(const tsface_audit_checkpoints_t *cp,
    const ngx_str_t *trail)
{
    ngx_uint_t  n;

    for (n = 0; n < cp->nnames; n++) {
        if (cp->lens[n] == trail->len
            && ngx_memcmp(cp->names[n], trail->data, trail->len) == 0)
        {
            break;
        }
    }

    return n;
}


static int
tsface_audit_checkpoints_compare(const void *one, const void *two)
{
    const tsface_audit_known_t  *a = one, *b = two;

    return (a->seq > b->seq) - (a->seq < b->seq);
}


/* A public key has none, and nobody is asked for one. */
static int
tsface_audit_checkpoints_password(char *buf, int size, int writing,
    void *data)
{
    return -1;
}
