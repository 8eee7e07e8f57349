
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * The table that is all of a limit zone's memory: keys and their times, what
 * was decided, and who was refused most.  Pure: the clock is an argument, and
 * whoever calls has locked it.
 */


#ifndef _NGX_HTTP_TSFACE_LIMIT_TABLE_H_INCLUDED_
#define _NGX_HTTP_TSFACE_LIMIT_TABLE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN   16

/* Callers that are counted, and bytes of the text that is kept of each. */
#define NGX_HTTP_TSFACE_LIMIT_NTOP         16
#define NGX_HTTP_TSFACE_LIMIT_TEXT_LEN     64


/* What became of requests; each limit counts for itself. */
typedef enum {
    NGX_HTTP_TSFACE_LIMIT_ALLOWED = 0,
    NGX_HTTP_TSFACE_LIMIT_DELAYED,
    NGX_HTTP_TSFACE_LIMIT_REFUSED,
    NGX_HTTP_TSFACE_LIMIT_DRY_RUN,     /* would have been one of the two */
    NGX_HTTP_TSFACE_LIMIT_NDECISIONS
} ngx_http_tsface_limit_decision_e;


/*
 * A key and its theoretical arrival time.  Keys are kept as the first half of
 * their SHA-256: of one size whatever a caller is called, and not to be read
 * from a core file.  Nodes are told by their index.
 */
typedef struct {
    uint64_t                        tat;
    uint32_t                        next;      /* in its chain, or NONE */
    uint32_t                        place;     /* in the heap */
    u_char                          digest[NGX_HTTP_TSFACE_LIMIT_DIGEST_LEN];
} ngx_http_tsface_limit_node_t;


#define NGX_HTTP_TSFACE_LIMIT_NONE         0xffffffff

/* Bytes of a key: its node, a place in the heap, a chain. */
#define NGX_HTTP_TSFACE_LIMIT_KEY_SIZE                                        \
    (sizeof(ngx_http_tsface_limit_node_t) + 2 * sizeof(uint32_t))


/* Who asks, made by ngx_http_tsface_limit_caller(). */
typedef struct {
    u_char                          len;       /* of text, with its quotes */
    u_char                          text[NGX_HTTP_TSFACE_LIMIT_TEXT_LEN + 2];
} ngx_http_tsface_limit_caller_t;


/* A caller and its refusals, of which at most error are others'. */
typedef struct {
    ngx_uint_t                      count;     /* 0: the place is free */
    ngx_uint_t                      error;
    ngx_http_tsface_limit_caller_t  caller;
} ngx_http_tsface_limit_top_t;


/*
 * One block, taken when the zone is made: this, max nodes, and behind them the
 * heap and the chains.  Nodes below top are in both, those from it on were
 * never used; none is ever given back, it is taken over by another key when
 * its own limits nobody any more.  That is why heap and chains can be made
 * anew from the nodes alone, when a worker dies between two changes of them
 * and leaves busy set.
 *
 * The heap makes "limits nobody" exact: its root is the first node to become
 * free, so a request is refused for want of memory only if every node is
 * needed.  (The queue of limit_req, by last use, would stop at a key with a
 * long way to go in front of thousands of free ones.)
 *
 * Not two red-black trees: at a million keys each step down in one is a line
 * that no cache has, and a key takes 104 bytes instead of 40.  In a heap half
 * of all nodes have nothing below them, so one whose time moves on hardly ever
 * goes far.
 */
typedef struct {
    uint32_t                       *heap;      /* by tat */
    uint32_t                       *chains;    /* their heads: by digest */
    uint64_t                        seed;

    ngx_uint_t                      top;
    ngx_uint_t                      max;
    ngx_uint_t                      busy;

    /* for want of memory: requests since the last message, its time */
    ngx_uint_t                      refused;
    uint64_t                        reported;

    /* since the zone was made */
    ngx_uint_t                      decisions[
                                           NGX_HTTP_TSFACE_LIMIT_NDECISIONS];
    ngx_uint_t                      full;
    ngx_uint_t                      evicted;
    ngx_uint_t                      returned;

    ngx_http_tsface_limit_top_t     refusals[NGX_HTTP_TSFACE_LIMIT_NTOP];

    ngx_http_tsface_limit_node_t    nodes[1];
} ngx_http_tsface_limit_table_t;


/*
 * Makes a table of size bytes, which has room for one key at least.  The seed
 * is random: who knows it can choose keys that make all requests slow.
 */
void ngx_http_tsface_limit_table_init(ngx_http_tsface_limit_table_t *table,
    size_t size, uint64_t seed);

/*
 * Comes first, each time the table is locked.  Returns 1 if a worker had died
 * in it; it was put in order then.
 */
ngx_uint_t ngx_http_tsface_limit_table_enter(
    ngx_http_tsface_limit_table_t *table);

/* The node of a key, or NULL. */
ngx_http_tsface_limit_node_t *ngx_http_tsface_limit_table_lookup(
    ngx_http_tsface_limit_table_t *table, const u_char *digest);

/* Is there a node for a new key: one never used, or one that limits nobody? */
ngx_uint_t ngx_http_tsface_limit_table_has_room(
    ngx_http_tsface_limit_table_t *table, uint64_t now);

/*
 * Counts a request for which there was no room.  Returns how many there were
 * since the last message, or 0 if it is too early for another one.
 */
ngx_uint_t ngx_http_tsface_limit_table_full(
    ngx_http_tsface_limit_table_t *table, uint64_t now);

/* Stores a new time; node is NULL for a new key, which has_room() let in. */
void ngx_http_tsface_limit_table_store(ngx_http_tsface_limit_table_t *table,
    ngx_http_tsface_limit_node_t *node, const u_char *digest, uint64_t tat);

/*
 * What is kept of a caller's name, a JSON string: one that is too long is cut
 * and ends in a hash of all of it, so that those that begin alike differ.
 */
void ngx_http_tsface_limit_caller(ngx_http_tsface_limit_caller_t *caller,
    const ngx_str_t *name);

/*
 * Counts a refusal of the caller among those who are refused most.  This is
 * the space-saving algorithm (Metwally, Agrawal, El Abbadi, 2005): a new one
 * takes over the place and the count of the least, so whoever has more than a
 * 16th of all refusals is there, however many names somebody makes up.
 */
void ngx_http_tsface_limit_table_blame(ngx_http_tsface_limit_table_t *table,
    const ngx_http_tsface_limit_caller_t *caller);


#endif /* _NGX_HTTP_TSFACE_LIMIT_TABLE_H_INCLUDED_ */
