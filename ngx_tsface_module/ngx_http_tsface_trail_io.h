
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * What the trail_* files do with descriptors and names: whole reads and
 * writes, a directory's sync, the buffer.  A failure is in errno.
 */


#ifndef _NGX_HTTP_TSFACE_TRAIL_IO_H_INCLUDED_
#define _NGX_HTTP_TSFACE_TRAIL_IO_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <dirent.h>


/* how a trail's files are made and opened: never through a link */
#define NGX_HTTP_TSFACE_TRAIL_MODE        0640
#define NGX_HTTP_TSFACE_TRAIL_FLAGS       (O_RDWR|O_APPEND|O_CLOEXEC          \
                                           |O_NOFOLLOW|O_NONBLOCK|O_NOCTTY)

/* The kernel's ways to say "you may not", as opposed to "it can't be". */
#define ngx_http_tsface_trail_io_denied(err)                                  \
    ((err) == EACCES || (err) == EPERM || (err) == EROFS)


/* Starts as zeros; data is free()d by its owner. */
typedef struct {
    u_char          *data;
    size_t           size;
} ngx_http_tsface_trail_buf_t;


/* path with suffix, NUL-terminated, to be free()d; NULL: no memory. */
char *ngx_http_tsface_trail_io_name(const ngx_str_t *path,
    const char *suffix);

/* The directory that name is in, to be free()d; NULL: no memory. */
char *ngx_http_tsface_trail_io_dir(const char *name);

/* The same, opened, to be closed by closedir(); or NULL. */
DIR *ngx_http_tsface_trail_io_opendir(const char *name);

/* What name is called there. */
const char *ngx_http_tsface_trail_io_base(const char *name);

/*
 * Makes a name that was given to a file in name's directory last.  NGX_OK as
 * well if the directory may not be read or can't be synced at all.
 */
ngx_int_t ngx_http_tsface_trail_io_sync_dir(const char *name);

/* As much as there is at offset, up to size; -1 on error. */
ssize_t ngx_http_tsface_trail_io_read(int fd, u_char *buf, size_t size,
    off_t offset);

/* All or NGX_ERROR; at the end of the file if offset is -1. */
ngx_int_t ngx_http_tsface_trail_io_write(int fd, const u_char *buf,
    size_t size, off_t offset);

/* Waits until all of it is on disk; NGX_ERROR with errno. */
ngx_int_t ngx_http_tsface_trail_io_sync(int fd);

/* Makes room for size bytes; what was in buf is lost.  Or NGX_ERROR. */
ngx_int_t ngx_http_tsface_trail_io_room(ngx_http_tsface_trail_buf_t *buf,
    size_t size);


#endif /* _NGX_HTTP_TSFACE_TRAIL_IO_H_INCLUDED_ */
