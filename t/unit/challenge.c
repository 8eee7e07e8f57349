
/*
 * Copyright (C) The ngx_tsface_module authors
 */

/* link: challenge.c */


#include "tap.h"

#include "ngx_http_tsface_challenge.h"


#define NONE   NGX_HTTP_TSFACE_CHALLENGE_NONE
#define TOKEN  NGX_HTTP_TSFACE_CHALLENGE_TOKEN
#define SCOPE  NGX_HTTP_TSFACE_CHALLENGE_SCOPE


static void
fields(void)
{
    size_t                       i;
    u_char                      *copy;
    ngx_str_t                    value;
    ngx_http_tsface_challenge_e  error;

    static const struct {
        const char                   *field;
        ngx_http_tsface_challenge_e   error;
    } rows[] = {
        { "", NONE },
        { "Bearer", NONE },
        { "Bearer error=\"invalid_token\"", TOKEN },
        { "Bearer error=\"insufficient_scope\"", SCOPE },
        { "Bearer error=invalid_token", TOKEN },
        { "bearer realm=\"x\",ERROR = \"Invalid_Token\" , scope=\"a b\"",
          TOKEN },
        { "Basic realm=\"x\", Bearer error=\"invalid_token\"", TOKEN },
        { "Bearer error=\"invalid_request\"", NONE },
        { "Bearer error=\"invalid_token_x\"", NONE },
        { "Bearer error=\"invalid\"", NONE },
        { "Bearer error_description=\"invalid_token\"", NONE },
        { "Bearer xerror=\"invalid_token\"", NONE },
        { "Bearer realm=\"error=invalid_token\"", NONE },
        { "Bearer realm=\"a\\\" error=invalid_token\"", NONE },
        { "Bearer realm=\"a\\\\\", error=invalid_token", TOKEN },
        { "Bearer realm=\"a\" error=\"insufficient_scope\","
          " error=\"invalid_token\"", SCOPE },
        { "Bearer error", NONE },
        { "Bearer error=", NONE },
        { "Bearer error=\"", NONE },
        { "Bearer error=\"invalid_token", TOKEN },
        { "Bearer error=\"invalid_token\\", NONE },
        { "Bearer error=\\\"invalid_token\"", NONE },
        { "===\"\"==,, error==invalid_token", NONE },
        { "\"", NONE },
        { "\"\\", NONE }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        value = text(rows[i].field);

        /* of that size, so that the sanitizer sees what is read behind it */

        copy = malloc(value.len ? value.len : 1);
        memcpy(copy, value.data, value.len);
        value.data = copy;

        error = ngx_http_tsface_challenge_error(&value);

        check(error == rows[i].error, "%s: %d", rows[i].field, (int) error);

        free(copy);
    }

    done("fields");
}


int
main(void)
{
    fields();

    return tap_end();
}
