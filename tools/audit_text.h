
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Untrusted text where it is looked at.
 */


#ifndef _TSFACE_AUDIT_TEXT_H_INCLUDED_
#define _TSFACE_AUDIT_TEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <stdio.h>


/*
 * The character at *p, which is before last, and *p moves behind it; 0, and
 * one byte, if it isn't UTF-8.
 */
uint32_t tsface_audit_text_next(const u_char **p, const u_char *last);

/*
 * Not one that moves the cursor, colours the screen or turns the direction of
 * writing.  All others are below U+10000.
 */
ngx_uint_t tsface_audit_text_printable(uint32_t ch);

/*
 * Writes that character as it is, or a "?" if it is not a printable one, and
 * *p moves behind it.
 */
void tsface_audit_text_put(FILE *out, const u_char **p, const u_char *last);


#endif /* _TSFACE_AUDIT_TEXT_H_INCLUDED_ */
