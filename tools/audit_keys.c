
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/crypto.h>

#include "audit_keys.h"
#include "audit_line.h"


static tsface_audit_key_e tsface_audit_keyring_same(
    tsface_audit_keyring_t *ring, const ngx_str_t *line, const u_char *mac);
static tsface_audit_key_e tsface_audit_keyring_change(
    tsface_audit_keyring_t *ring, const ngx_str_t *line, uint64_t seq,
    const u_char *mac);
static ngx_http_tsface_record_key_t *tsface_audit_keys_find(
    const tsface_audit_keys_t *keys, const ngx_str_t *id);
static ngx_uint_t tsface_audit_keys_proven(
    ngx_http_tsface_record_key_t *previous,
    const ngx_http_tsface_record_key_t *key, const ngx_str_t *line,
    uint64_t seq, const u_char *mac);
static ngx_uint_t tsface_audit_keys_accepted(const tsface_audit_keys_t *keys,
    const u_char *id);


tsface_audit_key_e
tsface_audit_keyring_next(tsface_audit_keyring_t *ring, const ngx_str_t *line,
    uint64_t seq, const u_char *mac)
{
    ngx_str_t           type;
    tsface_audit_key_e  rc;

    tsface_audit_line_type(line, &type);

    if (tsface_audit_line_is(&type, "key")) {
        rc = tsface_audit_keyring_change(ring, line, seq, mac);

    } else {
        rc = tsface_audit_keyring_same(ring, line, mac);
    }

    if (rc == TSFACE_AUDIT_KEY_OK && ring->current != ring->latest) {
        ring->stale++;
        ring->stale_seq = seq;
    }

    return rc;
}


void
tsface_audit_keyring_believe(tsface_audit_keyring_t *ring,
    const ngx_str_t *line)
{
    ngx_str_t  id;

    tsface_audit_line_get(line, "key_id", &id);

    ring->current = tsface_audit_keys_find(ring->keys, &id);
    ring->latest = ring->current;
}


static tsface_audit_key_e
tsface_audit_keyring_same(tsface_audit_keyring_t *ring, const ngx_str_t *line,
    const u_char *mac)
{
    ngx_str_t                      id;
    ngx_uint_t                     i;
    ngx_http_tsface_record_key_t  *key;

    if (ring->current) {
        if (ngx_http_tsface_record_verify(line, ring->current, mac) == NGX_OK)
        {
            return TSFACE_AUDIT_KEY_OK;
        }

        return TSFACE_AUDIT_KEY_CHANGED;
    }

    /* the first that can be checked: it is under one of those that are here */

    for (i = 0; i < ring->keys->n; i++) {
        key = ring->keys->keys[i];

        if (ngx_http_tsface_record_verify(line, key, mac) == NGX_OK) {
            ring->current = key;
            ring->latest = key;
            return TSFACE_AUDIT_KEY_OK;
        }
    }

    tsface_audit_line_get(line, "key_id", &id);

    if (id.len == sizeof(ring->id)
        && tsface_audit_keys_find(ring->keys, &id) == NULL)
    {
        ngx_memcpy(ring->id, id.data, sizeof(ring->id));
        return TSFACE_AUDIT_KEY_UNKNOWN;
    }

    return TSFACE_AUDIT_KEY_CHANGED;
}


static tsface_audit_key_e
tsface_audit_keyring_change(tsface_audit_keyring_t *ring,
    const ngx_str_t *line, uint64_t seq, const u_char *mac)
{
    ngx_str_t                      id;
    ngx_http_tsface_record_key_t  *key, *before;

    tsface_audit_line_get(line, "key_id", &id);

    if (id.len != sizeof(ring->id)) {
        return TSFACE_AUDIT_KEY_CHANGED;
    }

    ngx_memcpy(ring->id, id.data, sizeof(ring->id));

    key = tsface_audit_keys_find(ring->keys, &id);

    if (key == NULL) {
        return TSFACE_AUDIT_KEY_UNKNOWN;
    }

    if (ngx_http_tsface_record_verify(line, key, mac) != NGX_OK) {
        return TSFACE_AUDIT_KEY_CHANGED;
    }

    if (ring->current == NULL) {

        /* of the records before this one nothing was checked */

        tsface_audit_line_get(line, "previous_key_id", &id);

        before = tsface_audit_keys_find(ring->keys, &id);

        if (before != NULL
            && tsface_audit_keys_proven(before, key, line, seq, mac))
        {
            ring->before = before;
            ring->changes++;
        }

        ring->latest = key;

    } else if (key == ring->latest) {

        /* as it was, or again a worker of after a reload */

    } else if (tsface_audit_keys_proven(ring->latest, key, line, seq, mac)) {

        /* with a proof the key before may come back, and stay */

        ring->before = ring->latest;
        ring->latest = key;
        ring->changes++;

    } else if (key == ring->before) {

        /* a worker of before a reload */

    } else if (tsface_audit_keys_accepted(ring->keys, ring->id)) {
        ring->before = ring->latest;
        ring->latest = key;
        ring->changes++;

    } else {
        return TSFACE_AUDIT_KEY_UNPROVEN;
    }

    ring->current = key;

    return TSFACE_AUDIT_KEY_OK;
}


static ngx_http_tsface_record_key_t *
tsface_audit_keys_find(const tsface_audit_keys_t *keys, const ngx_str_t *id)
{
    ngx_uint_t  i;

    if (id->len != NGX_HTTP_TSFACE_RECORD_ID_LEN) {
        return NULL;
    }

    for (i = 0; i < keys->n; i++) {
        if (ngx_memcmp(ngx_http_tsface_record_key_id(keys->keys[i]), id->data,
                       id->len)
            == 0)
        {
            return keys->keys[i];
        }
    }

    return NULL;
}


static ngx_uint_t
tsface_audit_keys_proven(ngx_http_tsface_record_key_t *previous,
    const ngx_http_tsface_record_key_t *key, const ngx_str_t *line,
    uint64_t seq, const u_char *mac)
{
    u_char     want[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    ngx_str_t  id, proof;

    tsface_audit_line_get(line, "previous_key_id", &id);
    tsface_audit_line_get(line, "proof", &proof);

    return id.len == NGX_HTTP_TSFACE_RECORD_ID_LEN
           && ngx_memcmp(id.data, ngx_http_tsface_record_key_id(previous),
                         id.len)
              == 0
           && proof.len == sizeof(want)
           && ngx_http_tsface_record_key_proof(previous,
                                            ngx_http_tsface_record_key_id(key),
                                            mac, seq, want)
              == NGX_OK
           && CRYPTO_memcmp(proof.data, want, sizeof(want)) == 0;
}


static ngx_uint_t
tsface_audit_keys_accepted(const tsface_audit_keys_t *keys, const u_char *id)
{
    ngx_uint_t  i;

    for (i = 0; i < keys->naccepted; i++) {
        if (ngx_memcmp(keys->accepted[i], id, NGX_HTTP_TSFACE_RECORD_ID_LEN)
            == 0)
        {
            return 1;
        }
    }

    return 0;
}
