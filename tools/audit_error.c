
/*
 * Copyright (C) The ngx_tsface_module authors
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "audit.h"


int
tsface_audit_no_memory(void)
{
    fprintf(stderr, "tsface-audit: no memory\n");

    return TSFACE_AUDIT_USAGE;
}


int
tsface_audit_unreadable(const tsface_audit_reader_t *reader)
{
    fflush(stdout);
    fprintf(stderr, "tsface-audit: \"%s\": %s\n", reader->name,
            strerror(reader->err));

    return TSFACE_AUDIT_USAGE;
}
