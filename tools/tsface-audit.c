
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * tsface-audit: checks and reads an audit trail.  The command line; the
 * commands are in audit_*.c.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <getopt.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "audit.h"
#include "audit_values.h"
#include "ngx_http_tsface_secret_text.h"


#define TSFACE_AUDIT_KEY_LEN    32
#define TSFACE_AUDIT_LINES      10
#define TSFACE_AUDIT_MAX_LINES  10000

/* which commands an option is for */
#define TSFACE_AUDIT_CMD_VERIFY   0x01
#define TSFACE_AUDIT_CMD_SHOW     0x02
#define TSFACE_AUDIT_CMD_ORPHANS  0x04
#define TSFACE_AUDIT_CMD_STATS    0x08
#define TSFACE_AUDIT_CMD_EXPORT   0x10
#define TSFACE_AUDIT_CMD_FOLLOW   0x20

/*
 * Those that show records one by one, those that read records of any type, and
 * those that read records at all.
 */
#define TSFACE_AUDIT_CMD_EACH                                                 \
    (TSFACE_AUDIT_CMD_SHOW|TSFACE_AUDIT_CMD_EXPORT|TSFACE_AUDIT_CMD_FOLLOW)
#define TSFACE_AUDIT_CMD_ANY                                                  \
    (TSFACE_AUDIT_CMD_EACH|TSFACE_AUDIT_CMD_STATS)
#define TSFACE_AUDIT_CMD_LIST                                                 \
    (TSFACE_AUDIT_CMD_ANY|TSFACE_AUDIT_CMD_ORPHANS)
#define TSFACE_AUDIT_CMD_ALL                                                  \
    (TSFACE_AUDIT_CMD_VERIFY|TSFACE_AUDIT_CMD_LIST)


typedef struct {
    const char     *name;
    ngx_uint_t      mask;
    int           (*run)(const tsface_audit_t *audit);
} tsface_audit_command_t;


typedef enum {
    TSFACE_AUDIT_OPT_KEY = 0,
    TSFACE_AUDIT_OPT_ACCEPT_KEY,
    TSFACE_AUDIT_OPT_FROM_START,
    TSFACE_AUDIT_OPT_AFTER,
    TSFACE_AUDIT_OPT_SEEN,
    TSFACE_AUDIT_OPT_CHAIN,
    TSFACE_AUDIT_OPT_PUBLIC_KEY,
    TSFACE_AUDIT_OPT_CHECKPOINTS,
    TSFACE_AUDIT_OPT_USER,
    TSFACE_AUDIT_OPT_MEMBER,     /* a filter: what a member has to be */
    TSFACE_AUDIT_OPT_SINCE,
    TSFACE_AUDIT_OPT_UNTIL,
    TSFACE_AUDIT_OPT_JSON,
    TSFACE_AUDIT_OPT_FORMAT,
    TSFACE_AUDIT_OPT_LIMIT,
    TSFACE_AUDIT_OPT_LINES,
    TSFACE_AUDIT_OPT_PROGRESS,
    TSFACE_AUDIT_OPT_QUIET
} tsface_audit_option_e;


typedef struct {
    const char             *name;
    int                     argument;
    ngx_uint_t              mask;
    tsface_audit_option_e   option;
    tsface_audit_member_e   member;    /* of OPT_MEMBER */
} tsface_audit_option_t;


static int tsface_audit_options(tsface_audit_t *audit,
    const tsface_audit_command_t *command, int argc, char **argv);
static int tsface_audit_option(tsface_audit_t *audit,
    const tsface_audit_option_t *option);
static int tsface_audit_key(tsface_audit_t *audit, const char *name);
static int tsface_audit_accept_key(tsface_audit_t *audit, const char *id);
static int tsface_audit_public_key(tsface_audit_t *audit, const char *name);
static int tsface_audit_user_hmacs(tsface_audit_t *audit);
static int tsface_audit_keygen(void);


static const tsface_audit_command_t  tsface_audit_commands[] = {
    { "verify", TSFACE_AUDIT_CMD_VERIFY, tsface_audit_verify },
    { "show", TSFACE_AUDIT_CMD_SHOW, tsface_audit_show },
    { "follow", TSFACE_AUDIT_CMD_FOLLOW, tsface_audit_follow },
    { "export", TSFACE_AUDIT_CMD_EXPORT, tsface_audit_show },
    { "orphans", TSFACE_AUDIT_CMD_ORPHANS, tsface_audit_orphans },
    { "stats", TSFACE_AUDIT_CMD_STATS, tsface_audit_stats },
    { NULL, 0, NULL }
};


/* without and with an argument; a filter by a member of that value */
#define tsface_audit_flag(name, commands, option)                             \
    { name, no_argument, commands, TSFACE_AUDIT_OPT_##option,                 \
      TSFACE_AUDIT_MEMBERS }
#define tsface_audit_value(name, commands, option)                            \
    { name, required_argument, commands, TSFACE_AUDIT_OPT_##option,           \
      TSFACE_AUDIT_MEMBERS }
#define tsface_audit_member(name, commands, member)                           \
    { name, required_argument, commands, TSFACE_AUDIT_OPT_MEMBER,             \
      TSFACE_AUDIT_##member }


static const tsface_audit_option_t  tsface_audit_opts[] = {
    tsface_audit_value("key", TSFACE_AUDIT_CMD_ALL, KEY),
    tsface_audit_value("accept-key", TSFACE_AUDIT_CMD_ALL, ACCEPT_KEY),
    tsface_audit_flag("from-start", TSFACE_AUDIT_CMD_ALL, FROM_START),
    tsface_audit_value("after", TSFACE_AUDIT_CMD_ALL, AFTER),
    tsface_audit_value("seen", TSFACE_AUDIT_CMD_VERIFY, SEEN),
    tsface_audit_value("chain", TSFACE_AUDIT_CMD_VERIFY, CHAIN),
    tsface_audit_value("public-key", TSFACE_AUDIT_CMD_VERIFY, PUBLIC_KEY),
    tsface_audit_value("checkpoints", TSFACE_AUDIT_CMD_VERIFY, CHECKPOINTS),
    tsface_audit_member("caller", TSFACE_AUDIT_CMD_LIST, CALLER),
    tsface_audit_value("user", TSFACE_AUDIT_CMD_LIST, USER),
    tsface_audit_member("operation", TSFACE_AUDIT_CMD_LIST, OPERATION),
    tsface_audit_member("result", TSFACE_AUDIT_CMD_ANY, RESULT),
    tsface_audit_member("type", TSFACE_AUDIT_CMD_ANY, TYPE),
    tsface_audit_member("request-id", TSFACE_AUDIT_CMD_LIST, REQUEST_ID),
    tsface_audit_member("region", TSFACE_AUDIT_CMD_LIST, REGION),
    tsface_audit_member("credentials", TSFACE_AUDIT_CMD_LIST, CREDENTIALS),
    tsface_audit_member("client-addr", TSFACE_AUDIT_CMD_LIST, CLIENT_ADDR),
    tsface_audit_member("reason", TSFACE_AUDIT_CMD_ANY, REASON),
    tsface_audit_member("status", TSFACE_AUDIT_CMD_ANY, STATUS),
    tsface_audit_value("since", TSFACE_AUDIT_CMD_LIST, SINCE),
    tsface_audit_value("until", TSFACE_AUDIT_CMD_LIST, UNTIL),
    tsface_audit_flag("json",
        TSFACE_AUDIT_CMD_SHOW|TSFACE_AUDIT_CMD_FOLLOW|TSFACE_AUDIT_CMD_ORPHANS,
        JSON),
    tsface_audit_value("format",
        TSFACE_AUDIT_CMD_EXPORT|TSFACE_AUDIT_CMD_FOLLOW, FORMAT),
    tsface_audit_value("limit", TSFACE_AUDIT_CMD_EACH, LIMIT),
    tsface_audit_value("lines", TSFACE_AUDIT_CMD_FOLLOW, LINES),
    tsface_audit_flag("progress",
        TSFACE_AUDIT_CMD_ALL & ~TSFACE_AUDIT_CMD_FOLLOW, PROGRESS),
    tsface_audit_flag("quiet",
        TSFACE_AUDIT_CMD_ALL & ~TSFACE_AUDIT_CMD_FOLLOW, QUIET)
};

#define TSFACE_AUDIT_OPTS                                                     \
    (sizeof(tsface_audit_opts) / sizeof(tsface_audit_opts[0]))


static const char  tsface_audit_help[] =
    "usage: tsface-audit verify --key FILE... [--from-start | --after MARK]\n"
    "                           [--seen MARK] [--chain FILE]\n"
    "                           [--public-key FILE... [--checkpoints FILE]]\n"
    "                           [--accept-key ID] FILE...\n"
    "       tsface-audit show [--key FILE] [FILTER...] [--json] FILE...\n"
    "       tsface-audit follow [--key FILE] [FILTER...] [--lines N]\n"
    "                           [--json | --format F] FILE...\n"
    "       tsface-audit export --format F [--key FILE] [FILTER...] FILE...\n"
    "       tsface-audit orphans [--key FILE] [FILTER...] [--json] FILE...\n"
    "       tsface-audit stats [--key FILE] [FILTER...] FILE...\n"
    "       tsface-audit keygen | help | --version\n"
    "\n"
    "verify   whether the trail is whole, over all files, oldest first\n"
    "show     its records, as a table or (--json) as they are\n"
    "follow   those of the last file, as they come\n"
    "export   its records as events for other systems\n"
    "orphans  intents that neither an outcome nor a refusal closed\n"
    "stats    how many records, by type, result, operation and caller\n"
    "keygen   a new key of 256 bits\n"
    "\n"
    "--key FILE        the trail's key; without it no MAC is checked.  Again\n"
    "                  for each key that it had, in any order\n"
    "--accept-key ID   that key may come into the trail without a proof\n"
    "--from-start      the first record must be the first ever\n"
    "--after MARK      it must follow the record with that SEQ:MAC\n"
    "--seen MARK       the record with that SEQ:MAC must be there\n"
    "--chain FILE      and the one that PATH.chain names\n"
    "--public-key FILE the checkpoints are signed with its private key (PEM)\n"
    "--checkpoints FILE those that are known must be there: the gateway's\n"
    "                  checkpoint_file\n"
    "\n"
    "--format F        ocsf, ecs, cef or csv\n"
    "--limit N         no more records than that\n"
    "--lines N         of those that are there already (10), before others\n"
    "--progress        shows how far it is, also where it need not\n"
    "--quiet           never does\n"
    "\n"
    "FILTER: --caller C, --user ID (needs --key), --operation O,\n"
    "--request-id ID, --region R, --credentials C, --client-addr A,\n"
    "--since T, --until T; not for orphans: --result R, --type T, --reason R,\n"
    "--status N.  T: 2026-11-24, or more of it: 2026-11-24T20:19:05, in UTC.\n"
    "FILE: \"-\" is the standard input.\n"
    "\n"
    "Exit codes: 0 whole, 1 not whole, 2 wrong usage or a file that can't be\n"
    "read.  See tsface-audit(1) and docs/audit.md.\n";


int
main(int argc, char **argv)
{
    int                            rc;
    ngx_uint_t                     i;
    static tsface_audit_t          audit;
    const tsface_audit_command_t  *command;

    if (argc < 2) {
        fputs(tsface_audit_help, stderr);
        return TSFACE_AUDIT_USAGE;
    }

    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0
        || (argc == 3 && strcmp(argv[2], "--help") == 0))
    {
        fputs(tsface_audit_help, stdout);
        rc = TSFACE_AUDIT_OK;

    } else if (strcmp(argv[1], "--version") == 0) {
        printf("tsface-audit %s\n", TSFACE_AUDIT_VERSION);
        rc = TSFACE_AUDIT_OK;

    } else if (strcmp(argv[1], "keygen") == 0 && argc == 2) {
        rc = tsface_audit_keygen();

    } else {
        for (command = tsface_audit_commands; command->name; command++) {
            if (strcmp(argv[1], command->name) == 0) {
                break;
            }
        }

        if (command->name == NULL) {
            return tsface_audit_bad("no such command", argv[1]);
        }

        rc = tsface_audit_options(&audit, command, argc - 1, argv + 1);

        if (rc == TSFACE_AUDIT_OK) {
            rc = command->run(&audit);
        }

        tsface_audit_checkpoints_free(&audit.checkpoints);

        for (i = 0; i < audit.keys.n; i++) {
            ngx_http_tsface_record_key_free(audit.keys.keys[i]);
        }
    }

    /* half a table must not pass for a whole one */

    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "tsface-audit: writing failed\n");
        rc = TSFACE_AUDIT_USAGE;
    }

    return rc;
}


static int
tsface_audit_options(tsface_audit_t *audit,
    const tsface_audit_command_t *command, int argc, char **argv)
{
    int            n, rc, option;
    ngx_uint_t     i;
    struct option  options[TSFACE_AUDIT_OPTS + 1];

    ngx_memzero(options, sizeof(options));

    n = 0;

    audit->lines = TSFACE_AUDIT_LINES;

    /* not in between records */

    if (isatty(STDERR_FILENO)
        && (!(command->mask & TSFACE_AUDIT_CMD_EACH)
            || !isatty(STDOUT_FILENO)))
    {
        audit->progress = TSFACE_AUDIT_PROGRESS_LATE;
    }

    for (i = 0; i < TSFACE_AUDIT_OPTS; i++) {
        if (tsface_audit_opts[i].mask & command->mask) {
            options[n].name = tsface_audit_opts[i].name;
            options[n].has_arg = tsface_audit_opts[i].argument;
            options[n].val = (int) i;
            n++;
        }
    }

    for ( ;; ) {
        option = getopt_long(argc, argv, "", options, NULL);

        if (option == -1) {
            break;
        }

        /* getopt_long() has said what is wrong */

        if (option == '?'
            || tsface_audit_option(audit, &tsface_audit_opts[option])
               != TSFACE_AUDIT_OK)
        {
            return TSFACE_AUDIT_USAGE;
        }
    }

    audit->files = argv + optind;
    audit->nfiles = argc - optind;

    if (audit->nfiles == 0) {
        return tsface_audit_bad("no file for", command->name);
    }

    if (command->mask == TSFACE_AUDIT_CMD_EXPORT && audit->format == NULL) {
        return tsface_audit_bad("--format is needed for", command->name);
    }

    if (audit->format && audit->json) {
        return tsface_audit_bad("not together with --format", "--json");
    }

    if (audit->after.seq && audit->from_start) {
        return tsface_audit_bad("not together with --after", "--from-start");
    }

    if (audit->keys.n == 0
        && (command->mask == TSFACE_AUDIT_CMD_VERIFY || audit->filter.user))
    {
        return tsface_audit_bad("--key is needed for",
                                audit->filter.user ? "--user" : "verify");
    }

    if (audit->known) {

        if (audit->checkpoints.nkeys == 0) {
            return tsface_audit_bad("--public-key is needed for",
                                    "--checkpoints");
        }

        /* before the records: the gateway writes it after them */

        rc = tsface_audit_checkpoints_read(&audit->checkpoints, audit->known);

        if (rc != TSFACE_AUDIT_OK) {
            return rc;
        }
    }

    return tsface_audit_user_hmacs(audit);
}


static int
tsface_audit_option(tsface_audit_t *audit,
    const tsface_audit_option_t *option)
{
    tsface_audit_filter_t  *filter;

    filter = &audit->filter;

    switch (option->option) {

    case TSFACE_AUDIT_OPT_KEY:
        return tsface_audit_key(audit, optarg);

    case TSFACE_AUDIT_OPT_ACCEPT_KEY:
        return tsface_audit_accept_key(audit, optarg);

    case TSFACE_AUDIT_OPT_FROM_START:
        audit->from_start = 1;
        break;

    case TSFACE_AUDIT_OPT_AFTER:
        return tsface_audit_mark(&audit->after, optarg);

    case TSFACE_AUDIT_OPT_SEEN:

        if (audit->nmarks == TSFACE_AUDIT_MAX_MARKS) {
            return tsface_audit_bad("too many marks", optarg);
        }

        return tsface_audit_mark(&audit->marks[audit->nmarks++], optarg);

    case TSFACE_AUDIT_OPT_CHAIN:
        return tsface_audit_chain_end(audit, optarg);

    case TSFACE_AUDIT_OPT_PUBLIC_KEY:
        return tsface_audit_public_key(audit, optarg);

    case TSFACE_AUDIT_OPT_CHECKPOINTS:
        audit->known = optarg;
        break;

    case TSFACE_AUDIT_OPT_USER:
        filter->user = optarg;
        break;

    case TSFACE_AUDIT_OPT_MEMBER:
        filter->members[option->member] = optarg;
        break;

    case TSFACE_AUDIT_OPT_SINCE:
        return tsface_audit_time(&filter->since, optarg);

    case TSFACE_AUDIT_OPT_UNTIL:
        return tsface_audit_time(&filter->until, optarg);

    case TSFACE_AUDIT_OPT_JSON:
        audit->json = 1;
        break;

    case TSFACE_AUDIT_OPT_FORMAT:
        audit->format = tsface_audit_format(optarg);

        if (audit->format == NULL) {
            return tsface_audit_bad("no such format", optarg);
        }

        break;

    case TSFACE_AUDIT_OPT_LIMIT:
        return tsface_audit_number(&audit->limit, optarg, UINT64_MAX);

    case TSFACE_AUDIT_OPT_LINES:
        return tsface_audit_number(&audit->lines, optarg,
                                   TSFACE_AUDIT_MAX_LINES);

    case TSFACE_AUDIT_OPT_PROGRESS:
        audit->progress = TSFACE_AUDIT_PROGRESS_FORCED;
        break;

    case TSFACE_AUDIT_OPT_QUIET:
        audit->progress = TSFACE_AUDIT_PROGRESS_OFF;
        break;
    }

    return TSFACE_AUDIT_OK;
}


/* As nginx reads it: the first line, in a file that others can't use. */
static int
tsface_audit_key(tsface_audit_t *audit, const char *name)
{
    ngx_int_t                       rc;
    ngx_http_tsface_record_key_t   *key;
    ngx_http_tsface_secret_text_t   text;

    if (audit->keys.n == TSFACE_AUDIT_MAX_KEYS) {
        return tsface_audit_bad("too many keys", name);
    }

    key = NULL;
    rc = ngx_http_tsface_secret_text_file(&text, (const u_char *) name, 1);

    if (rc == NGX_OK) {
        key = ngx_http_tsface_record_key_new(&text.line[0]);
    }

    OPENSSL_cleanse(text.data, sizeof(text.data));

    if (rc != NGX_OK) {
        fprintf(stderr, "tsface-audit: key \"%s\": %s%s%s\n", name,
                ngx_http_tsface_secret_text_fault(text.fault),
                text.err ? ": " : "", text.err ? strerror(text.err) : "");
        return TSFACE_AUDIT_USAGE;
    }

    if (key == NULL) {
        return tsface_audit_no_memory();
    }

    audit->keys.keys[audit->keys.n++] = key;

    return TSFACE_AUDIT_OK;
}


static int
tsface_audit_accept_key(tsface_audit_t *audit, const char *id)
{
    if (audit->keys.naccepted == TSFACE_AUDIT_MAX_KEYS) {
        return tsface_audit_bad("too many ids of keys", id);
    }

    if (strspn(id, "0123456789abcdef") != NGX_HTTP_TSFACE_RECORD_ID_LEN
        || id[NGX_HTTP_TSFACE_RECORD_ID_LEN] != '\0')
    {
        return tsface_audit_bad("not the id of a key", id);
    }

    ngx_memcpy(audit->keys.accepted[audit->keys.naccepted++], id,
               NGX_HTTP_TSFACE_RECORD_ID_LEN);

    return TSFACE_AUDIT_OK;
}


static int
tsface_audit_public_key(tsface_audit_t *audit, const char *name)
{
    switch (tsface_audit_checkpoints_key(&audit->checkpoints, name)) {

    case NGX_OK:
        return TSFACE_AUDIT_OK;

    case NGX_ERROR:
        fprintf(stderr, "tsface-audit: \"%s\": %s\n", name, strerror(errno));
        return TSFACE_AUDIT_USAGE;

    default: /* NGX_DECLINED */
        return tsface_audit_bad("no public key for Ed25519 in PEM, or too "
                                "many", name);
    }
}


static int
tsface_audit_user_hmacs(tsface_audit_t *audit)
{
    ngx_str_t               user;
    ngx_uint_t              i;
    tsface_audit_filter_t  *filter;

    filter = &audit->filter;

    if (filter->user == NULL) {
        return TSFACE_AUDIT_OK;
    }

    user.data = (u_char *) filter->user;
    user.len = ngx_strlen(user.data);

    for (i = 0; i < audit->keys.n; i++) {
        if (ngx_http_tsface_record_fingerprint(audit->keys.keys[i],
                                               "tsface user", &user,
                                               filter->user_hmac[i],
                                               NGX_HTTP_TSFACE_RECORD_MAC_LEN)
            != NGX_OK)
        {
            return tsface_audit_no_memory();
        }
    }

    filter->nuser_hmacs = i;

    return TSFACE_AUDIT_OK;
}


static int
tsface_audit_keygen(void)
{
    int        rc;
    size_t     i;
    u_char     key[TSFACE_AUDIT_KEY_LEN];

    rc = RAND_priv_bytes(key, sizeof(key));

    if (rc != 1) {
        fprintf(stderr, "tsface-audit: no random bytes\n");
        return TSFACE_AUDIT_USAGE;
    }

    for (i = 0; i < sizeof(key); i++) {
        printf("%02x", key[i]);
    }

    (void) putchar('\n');

    OPENSSL_cleanse(key, sizeof(key));

    return TSFACE_AUDIT_OK;
}
