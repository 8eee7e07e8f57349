
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What tsface-audit reads.  The input is the bytes of a trail: its lines have
 * to be those that a plainer reader finds, however the bytes come, and each
 * that is a record has to be one event of each format, in which no string
 * leaves its place.  The input's lines are also callers of a whole trail, to
 * which something is done: the first line that differs has to be found.
 */

/* link: record.c record_text.c record_mac.c record_line.c json.c */
/* link: tools/audit_chain.c tools/audit_record.c tools/audit_event.c */
/* link: tools/audit_export.c tools/audit_json.c tools/audit_text.c */
/* link: tools/audit_ocsf.c tools/audit_ecs.c tools/audit_cef.c */
/* link: tools/audit_csv.c tools/audit_progress.c tools/audit_keys.c */
/* link: tools/audit_line.c tools/audit_checkpoint.c record_sign.c */
/* link: tools/audit_error.c */


#include "fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include "audit_chain.h"
#include "audit_export.h"
#include "ngx_http_tsface_json.h"


#define MAX_LINES  12
#define MAX_CELLS  64

/* this byte of the input stands for as many, so that lines get too long */
#define MANY       0x01
#define MANY_LEN   4093


/* The file: what is in it, and how much of that there is already. */
static struct {
    ngx_str_t   text;
    size_t      visible;
    size_t      pos;
    uint32_t    random;
} file;


static ssize_t
fuzz_read(void *buf, size_t size)
{
    size_t  n;

    /* in pieces, of which the smallest tell most */

    n = 1 + fuzz_next(&file.random) % (fuzz_next(&file.random) % 3 ? 16 : 9000);
    n = ngx_min(n, file.visible - file.pos);
    n = ngx_min(n, size);

    if (n) {
        memcpy(buf, file.text.data + file.pos, n);
        file.pos += n;
    }

    return n;
}


static off_t
fuzz_lseek(off_t offset)
{
    must(offset >= 0 && (size_t) offset <= file.pos);

    file.pos = offset;

    return offset;
}


/* The reader, without a file. */

#define read(fd, buf, size)              fuzz_read(buf, size)
#define lseek(fd, offset, whence)        fuzz_lseek(offset)
#define open(name, flags)                (file.pos = 0, 3)
#define close(fd)                        0
#define posix_fadvise(fd, from, n, what) 0
#define TSFACE_AUDIT_BUFFER              (NGX_HTTP_TSFACE_RECORD_MAX + 1000)

#include "../../tools/audit_reader.c"

#undef read
#undef lseek
#undef open
#undef close
#undef posix_fadvise


static tsface_audit_keys_t            keys;
static tsface_audit_checkpoints_t     checkpoints;
static tsface_audit_record_t          record;
static tsface_audit_event_t           event;
static ngx_http_tsface_json_t         json;
static char                          *names[] = { "file" };


static void
chain_begin(tsface_audit_chain_t *chain, ngx_uint_t start)
{
    memset(chain, 0, sizeof(tsface_audit_chain_t));

    chain->ring.keys = &keys;
    chain->checkpoints = &checkpoints;

    if (start) {
        chain->began = 1;
        memset(chain->mac, '0', sizeof(chain->mac));
    }
}


/* --- events */

/* As CEF and CSV show it; of valid UTF-8. */

static ngx_str_t
shown(const ngx_str_t *text, ngx_uint_t ends)
{
    size_t     n, i;
    u_char    *p;
    uint32_t   ch;
    ngx_str_t  out;

    out.data = p = fuzz_alloc(text->len);

    for (i = 0; i < text->len; i += n) {
        ch = text->data[i];
        n = ch < 0x80 ? 1 : ch < 0xe0 ? 2 : ch < 0xf0 ? 3 : 4;

        must(i + n <= text->len);

        if (n == 2) {
            ch = (ch & 0x1f) << 6 | (text->data[i + 1] & 0x3f);

        } else if (n == 3) {
            ch = (ch & 0xf) << 12 | (text->data[i + 1] & 0x3f) << 6
                 | (text->data[i + 2] & 0x3f);
        }

        if ((ch < 0x20 && !(ends && (ch == '\n' || ch == '\r')))
            || (ch >= 0x7f && ch < 0xa0) || ch == 0x61c
            || (ch >= 0x200b && ch <= 0x200f)
            || (ch >= 0x2028 && ch <= 0x202e)
            || (ch >= 0x2060 && ch <= 0x206f) || ch == 0xfeff)
        {
            *p++ = '?';

        } else {
            memcpy(p, text->data + i, n);
            p += n;
        }
    }

    out.len = p - out.data;

    return out;
}


static void
check_json(const ngx_str_t *text)
{
    size_t                         i, room;
    u_char                        *arena;
    ngx_str_t                      object;
    ngx_http_tsface_json_status_e  status;

    must(text->len > 1 && text->data[text->len - 1] == '\n');

    for (i = 0; i < text->len - 1; i++) {
        must(text->data[i] >= 0x20 && text->data[i] != 0x7f);
    }

    object = *text;
    object.len--;

    room = NGX_HTTP_TSFACE_JSON_ARENA_SIZE(object.len);
    arena = fuzz_alloc(room);

    status = ngx_http_tsface_json_read(&json, &object, arena, room);

    /* it may be deeper than what it was made of */

    must(status == NGX_HTTP_TSFACE_JSON_OK
         || status == NGX_HTTP_TSFACE_JSON_LIMIT);

    free(arena);
}


static void
check_cef(const ngx_str_t *text)
{
    size_t      i;
    u_char     *p, *last, *start, *value, *name, *out, *end;
    ngx_str_t   got, want;
    ngx_uint_t  fields, seen;

    static const char  known[] = " rt start end externalId cat act outcome "
        "reason dvchost dvcpid suser src shost duid dhost dpt dst "
        "requestMethod request cnt cn1 cn1Label cn2 cn2Label cn3 cn3Label cs1 "
        "cs1Label cs2 cs2Label cs3 cs3Label cs4 cs4Label cs5 cs5Label cs6 "
        "cs6Label flexString1 flexString1Label flexString2 flexString2Label ";
    char               word[32];

    must(text->len && text->data[text->len - 1] == '\n');
    must(memchr(text->data, '\n', text->len) == text->data + text->len - 1);

    p = text->data;
    last = p + text->len - 1;

    for (fields = 0; fields < 7; p++) {
        must(p < last);

        if (*p == '\\') {
            p++;
            must(*p == '\\' || *p == '|');

        } else if (*p == '|') {
            fields++;
        }
    }

    want = shown(&record.members[TSFACE_AUDIT_CALLER], 1);
    got.data = fuzz_alloc(text->len);
    got.len = 0;
    seen = 0;

    /* pairs: a value ends in front of the name of the next one */

    while (p < last) {
        name = p;

        while (p < last && *p != '=') {
            p++;
        }

        must(p < last && p - name > 0 && p - name < 20);

        snprintf(word, sizeof(word), " %.*s ", (int) (p - name), name);
        must(strstr(known, word) != NULL);

        value = start = ++p;
        end = last;

        for ( /* void */ ; p < last; p++) {

            if (*p == '\\') {
                p++;
                must(p < last && strchr("\\=nr", *p) != NULL);

            } else if (*p == ' ') {
                start = p + 1;

            } else if (*p == '=') {
                must(start > value);
                end = start - 1;
                break;
            }
        }

        p = end == last ? last : start;

        if (strcmp(word, " suser ") != 0) {
            continue;
        }

        must(!seen);
        seen = 1;
        out = got.data;

        for ( /* void */ ; value < end; value++) {
            if (*value == '\\') {
                value++;
                *out++ = *value == 'n' ? '\n' : *value == 'r' ? '\r' : *value;

            } else {
                *out++ = *value;
            }
        }

        got.len = out - got.data;
    }

    must(seen == (want.len != 0));
    must(fuzz_same(&got, &want));

    for (i = 0; i < got.len; i++) {
        must(got.data[i] >= 0x20 || got.data[i] == '\n' || got.data[i] == '\r');
    }

    free(got.data);
    free(want.data);
}


/* The cells of a row, their quotes taken off in place. */

static ngx_uint_t
cells(u_char *p, u_char *last, ngx_str_t *cell)
{
    u_char      *out;
    ngx_uint_t   n;

    for (n = 0; /* void */ ; n++) {
        must(n < MAX_CELLS);
        cell[n].data = out = p;

        if (p < last && *p == '"') {

            for (p++; /* void */ ; p++) {
                must(p < last);

                if (*p == '"' && *++p != '"') {
                    break;
                }

                *out++ = *p;
            }

        } else {

            while (p < last && *p != ',' && *p != '\r') {
                must(*p != '"' && *p != '\n');
                *out++ = *p++;
            }
        }

        cell[n].len = out - cell[n].data;

        must(p < last);

        if (*p++ != ',') {
            must(p == last - 1 && p[-1] == '\r' && *p == '\n');
            return n + 1;
        }
    }
}


static void
check_csv(const ngx_str_t *text, const ngx_str_t *head)
{
    ngx_str_t    row, title, want, cell[MAX_CELLS], name[MAX_CELLS];
    ngx_uint_t   i, n;

    row = fuzz_copy(text->data, text->len);
    title = fuzz_copy(head->data, head->len);

    n = cells(title.data, title.data + title.len, name);

    must(cells(row.data, row.data + row.len, cell) == n);

    for (i = 0; i < n; i++) {

        must(cell[i].len == 0
             || memchr("=+-@\t\r", cell[i].data[0], 6) == NULL);

        if (name[i].len != 6 || memcmp(name[i].data, "caller", 6) != 0) {
            continue;
        }

        if (cell[i].len && cell[i].data[0] == '\'') {
            cell[i].data++;
            cell[i].len--;
        }

        want = shown(&record.members[TSFACE_AUDIT_CALLER], 0);
        must(fuzz_same(&cell[i], &want));
        free(want.data);
    }

    free(title.data);
    free(row.data);
}


static void
check_events(const ngx_str_t *line)
{
    char                         *buf;
    FILE                         *out;
    size_t                        size;
    ngx_str_t                     text, head;
    ngx_uint_t                    i;
    const tsface_audit_format_t  *format;

    static const char  *formats[] = { "ocsf", "ecs", "cef", "csv" };

    tsface_audit_event_read(&event, &record);

    for (i = 0; i < 4; i++) {
        format = tsface_audit_format(formats[i]);
        must(format != NULL);

        out = open_memstream(&buf, &size);
        must(out != NULL);

        if (format->head) {
            format->head(out);
        }

        fflush(out);
        head.len = size;

        format->event(out, &event);
        must(fclose(out) == 0);

        head.data = (u_char *) buf;
        text.data = (u_char *) buf + head.len;
        text.len = size - head.len;

        if (i < 2) {
            check_json(&text);

        } else if (i == 2) {
            check_cef(&text);

        } else {
            check_csv(&text, &head);
        }

        free(buf);
    }
}


/* --- bytes */

/* With grow, more of the file is there only after a wait. */

static void
read_bytes(const ngx_str_t *text, uint32_t seed, ngx_uint_t grow)
{
    u_char                 *p, *lf, *last;
    size_t                  len;
    ngx_str_t               line;
    uint64_t                number;
    tsface_audit_chain_t    chain;
    tsface_audit_fault_e    fault;
    tsface_audit_reader_t   reader;
    tsface_audit_reader_e   what, want;

    file.text = *text;
    file.visible = grow ? 0 : text->len;
    file.random = seed;

    must(tsface_audit_reader_init(&reader, names, 1) == NGX_OK);

    reader.wait = grow;
    chain_begin(&chain, 0);

    p = text->data;
    last = p + text->len;
    number = 0;

    for ( ;; ) {
        what = tsface_audit_reader_next(&reader, &line);

        if (what == TSFACE_AUDIT_WAIT) {
            must(grow);

            if (file.visible == text->len) {
                reader.wait = 0;
            }

            file.visible += 1 + fuzz_next(&file.random) % 3000;
            file.visible = ngx_min(file.visible, text->len);
            continue;
        }

        if (p == last) {
            must(what == TSFACE_AUDIT_END);
            break;
        }

        lf = memchr(p, '\n', last - p);
        len = (lf ? lf : last) - p;

        want = len >= NGX_HTTP_TSFACE_RECORD_MAX ? TSFACE_AUDIT_LONG
               : lf ? TSFACE_AUDIT_LINE : TSFACE_AUDIT_TORN;

        must(what == want);
        must(reader.number == ++number);

        if (what != TSFACE_AUDIT_LONG) {
            must(line.len == len && memcmp(line.data, p, len) == 0);
        }

        fault = tsface_audit_chain_next(&chain, what, &line);

        must((what == TSFACE_AUDIT_LINE) || fault != TSFACE_AUDIT_WHOLE);
        must(chain.records <= number);

        if (chain.found && !grow) {

            /* a copy of its size, so that what reads behind it is seen */

            line = fuzz_copy(line.data, line.len);

            if (tsface_audit_record_read(&record, &line) == NGX_OK) {
                check_events(&line);
            }

            free(line.data);
        }

        p = lf ? lf + 1 : last;
    }

    tsface_audit_reader_done(&reader);
}


/* --- a whole trail */

static size_t
write_trail(const uint8_t *data, size_t size, u_char *buf)
{
    u_char                     mac[NGX_HTTP_TSFACE_RECORD_MAC_LEN];
    u_char                     text[NGX_HTTP_TSFACE_RECORD_BODY_MAX];
    size_t                     n, len;
    uint64_t                   seq;
    ngx_str_t                  body;
    const uint8_t             *lf;
    ngx_http_tsface_record_t   one;

    memset(mac, '0', sizeof(mac));
    len = 0;

    for (seq = 1; seq <= MAX_LINES; seq++) {
        lf = size ? memchr(data, '\n', size) : NULL;
        n = lf ? (size_t) (lf - data) : size;

        ngx_http_tsface_record_init(&one, NGX_HTTP_TSFACE_RECORD_INTENT);
        one.caller.data = (u_char *) data;
        one.caller.len = n;

        body.data = text;
        body.len = ngx_http_tsface_record_body(&one, text, sizeof(text));
        must(body.len > 0);

        n = ngx_http_tsface_record_seal(&body, seq, 1700000000000000ULL + seq,
                                        keys.keys[0], mac, buf + len,
                                        NGX_HTTP_TSFACE_RECORD_MAX);
        must(n > 0);
        len += n;

        if (lf == NULL) {
            break;
        }

        size -= lf + 1 - data;
        data = lf + 1;
    }

    return len;
}


/* Where the line at or before p begins. */

static size_t
line_at(const u_char *buf, size_t pos)
{
    while (pos > 0 && buf[pos - 1] != '\n') {
        pos--;
    }

    return pos;
}


static size_t
line_end(const u_char *buf, size_t len, size_t pos)
{
    const u_char  *lf;

    lf = memchr(buf + pos, '\n', len - pos);

    return lf ? (size_t) (lf + 1 - buf) : len;
}


/* Does something to it, in place: there is room for twice as much. */

static size_t
edit_trail(u_char *buf, size_t len, uint32_t *random)
{
    size_t   at, to, n;
    u_char   line[NGX_HTTP_TSFACE_RECORD_MAX];

    at = fuzz_next(random) % len;

    switch (fuzz_next(random) % 6) {

    case 0:
        return len;

    case 1:
        buf[at] ^= 1 << fuzz_next(random) % 8;
        return len;

    case 2:

        /* bytes cut out, or off */

        n = 1 + fuzz_next(random) % (len - at);
        memmove(buf + at, buf + at + n, len - at - n);
        return len - n;

    case 3:

        /* a line cut out */

        at = line_at(buf, at);
        n = line_end(buf, len, at) - at;
        memmove(buf + at, buf + at + n, len - at - n);
        return len - n;

    case 4:

        /* a line doubled, or, cut out first, moved */

        at = line_at(buf, at);
        n = line_end(buf, len, at) - at;
        memcpy(line, buf + at, n);

        if (fuzz_next(random) % 2) {
            memmove(buf + at, buf + at + n, len - at - n);
            len -= n;
        }

        to = len ? line_at(buf, fuzz_next(random) % len) : 0;
        memmove(buf + to + n, buf + to, len - to);
        memcpy(buf + to, line, n);

        return len + n;

    default:
        return at;
    }
}


static void
check_trail(const uint8_t *data, size_t size, uint32_t random)
{
    u_char                 *buf, *edited;
    size_t                  len, n, pos, end, other;
    uint64_t                differs, found, lines;
    ngx_str_t               line;
    tsface_audit_chain_t    chain;
    tsface_audit_reader_t   reader;
    tsface_audit_reader_e   what;

    buf = fuzz_alloc((MAX_LINES + 1) * NGX_HTTP_TSFACE_RECORD_MAX);
    edited = fuzz_alloc((MAX_LINES + 1) * NGX_HTTP_TSFACE_RECORD_MAX);

    len = write_trail(data, size, buf);
    memcpy(edited, buf, len);
    n = edit_trail(edited, len, &random);

    /* the first line that is not the one that was written; 0: none */

    differs = 0;
    lines = 0;

    for (pos = 0; pos < n; pos = end) {
        end = line_end(edited, n, pos);
        lines++;

        other = pos < len ? line_end(buf, len, pos) : pos;

        if (other != end || memcmp(edited + pos, buf + pos, end - pos) != 0) {
            differs = lines;
            break;
        }
    }

    file.text.data = edited;
    file.text.len = file.visible = n;
    file.random = random;

    must(tsface_audit_reader_init(&reader, names, 1) == NGX_OK);
    chain_begin(&chain, 1);

    found = 0;

    while (found == 0) {
        what = tsface_audit_reader_next(&reader, &line);

        if (what == TSFACE_AUDIT_END) {
            break;
        }

        if (tsface_audit_chain_next(&chain, what, &line) != TSFACE_AUDIT_WHOLE)
        {
            found = reader.number;
        }
    }

    must(found == differs);
    must(differs || chain.records == lines);

    tsface_audit_reader_done(&reader);
    free(edited);
    free(buf);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t     i;
    u_char    *p;
    ngx_str_t  text, secret;
    uint32_t   seed;

    if (keys.n == 0) {
        ngx_str_set(&secret, "0123456789abcdef0123456789abcdef");
        keys.keys[0] = ngx_http_tsface_record_key_new(&secret);
        must(keys.keys[0] != NULL);
        keys.n = 1;
    }

    seed = fuzz_hash(data, size);

    for (text.len = size, i = 0; i < size; i++) {
        if (data[i] == MANY) {
            text.len += MANY_LEN - 1;
        }
    }

    if (text.len <= 16 * NGX_HTTP_TSFACE_RECORD_MAX) {
        text.data = p = fuzz_alloc(text.len);

        for (i = 0; i < size; i++) {
            if (data[i] == MANY) {
                memset(p, 'x', MANY_LEN);
                p += MANY_LEN;

            } else {
                *p++ = data[i];
            }
        }

        read_bytes(&text, seed, 0);
        read_bytes(&text, seed, 1);
        free(text.data);
    }

    check_trail(data, size, seed);

    return 0;
}
