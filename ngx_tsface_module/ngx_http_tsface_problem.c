
/*
 * Copyright (C) The ngx_tsface_module authors
 *
 * Every sentence here is read by whoever called us: it says what to do, and
 * nothing about the credentials, the token endpoint or the files.  There is
 * nothing in it that JSON would have to escape.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_tsface_problem.h"


const ngx_http_tsface_problem_t
    ngx_http_tsface_problems[NGX_HTTP_TSFACE_NPROBLEMS] =
{
    [NGX_HTTP_TSFACE_PROBLEM_NONE] = {
        0,
        ngx_string("none"),
        ngx_string(""),
        ngx_string("")
    },

    [NGX_HTTP_TSFACE_PROBLEM_NO_CALLER] = {
        401,
        ngx_string("no_caller"),
        ngx_string("Caller not identified"),
        ngx_string("The request does not say who is calling.  Authenticate "
                   "to the gateway the way its administrator requires, for "
                   "example with a client certificate, and try again.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_NO_BEARER] = {
        401,
        ngx_string("no_bearer"),
        ngx_string("No usable bearer token"),
        ngx_string("This operation acts for the user who is logged in.  Send "
                   "that user's access token in one Authorization header: "
                   "Bearer, a space and a token of at most 8192 characters.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_BAD_PATH] = {
        400,
        ngx_string("bad_path"),
        ngx_string("Path not in normal form"),
        ngx_string("Send the documented path as it is: without encoded "
                   "characters, doubled slashes, dot segments, semicolons, "
                   "number signs, backslashes or spaces.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_QUERY] = {
        400,
        ngx_string("query"),
        ngx_string("Query string not allowed"),
        ngx_string("The operations take no query string.  Send the path "
                   "without the question mark and what follows it.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_UNKNOWN_PATH] = {
        404,
        ngx_string("unknown_path"),
        ngx_string("Unknown operation"),
        ngx_string("The gateway forwards documented operations only, and "
                   "this path is none of them.  Check its spelling, its case "
                   "and that it has no slash at its end.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_METHOD] = {
        405,
        ngx_string("method"),
        ngx_string("Method not allowed"),
        ngx_string("This operation exists, but not with this method.  Use "
                   "the one that the Allow header names.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_BAD_REQUEST] = {
        400,
        ngx_string("bad_request"),
        ngx_string("Bad request"),
        ngx_string("The body could not be read as HTTP frames it.  Send a "
                   "whole body, with one Content-Length or in chunks.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_LENGTH_REQUIRED] = {
        411,
        ngx_string("length_required"),
        ngx_string("Length required"),
        ngx_string("Send the body with a Content-Length header.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_BODY_TOO_LARGE] = {
        413,
        ngx_string("body_too_large"),
        ngx_string("Body too large"),
        ngx_string("Send a body of at most 65536 bytes.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_NOT_JSON] = {
        415,
        ngx_string("not_json"),
        ngx_string("Content type is not JSON"),
        ngx_string("Send the body with Content-Type: application/json; a "
                   "charset parameter, if any, must be utf-8.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_BODY_NOT_ALLOWED] = {
        400,
        ngx_string("body_not_allowed"),
        ngx_string("Body not allowed"),
        ngx_string("This operation takes no body.  Send the request without "
                   "one.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_BODY_NOT_JSON] = {
        400,
        ngx_string("body_not_json"),
        ngx_string("Body is not valid JSON"),
        ngx_string("Send one JSON object with the member user_id, in valid "
                   "UTF-8, without NUL characters, unpaired surrogates or "
                   "bytes after it, nested at most 8 deep, with at most 64 "
                   "members.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_BODY_NOT_OBJECT] = {
        400,
        ngx_string("body_not_object"),
        ngx_string("Body is not a JSON object"),
        ngx_string("Send a JSON object that has the member user_id.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_USER_ID_MISSING] = {
        400,
        ngx_string("user_id_missing"),
        ngx_string("user_id is missing"),
        ngx_string("Add the member user_id with the user's id to the JSON "
                   "object.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_USER_ID_NOT_STRING] = {
        400,
        ngx_string("user_id_not_string"),
        ngx_string("user_id is not a string"),
        ngx_string("Send user_id as a JSON string, in quotes.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_USER_ID_EMPTY] = {
        400,
        ngx_string("user_id_empty"),
        ngx_string("user_id is empty"),
        ngx_string("Send the user's id in user_id; it may not be empty.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_USER_ID_TOO_LONG] = {
        400,
        ngx_string("user_id_too_long"),
        ngx_string("user_id is too long"),
        ngx_string("Send a user_id of at most 512 bytes in UTF-8.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_USER_ID_INVALID] = {
        400,
        ngx_string("user_id_invalid"),
        ngx_string("user_id has control characters"),
        ngx_string("Send a user_id without control characters, escaped ones "
                   "included.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_DUPLICATE_KEY] = {
        400,
        ngx_string("duplicate_key"),
        ngx_string("Duplicate key in the body"),
        ngx_string("Send each key of a JSON object once: a key that occurs "
                   "twice is read differently by different receivers.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_LIMITED] = {
        429,
        ngx_string("limited"),
        ngx_string("Too many requests"),
        ngx_string("The rate limit is used up.  Try again after the seconds "
                   "that the Retry-After header gives.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_ENDPOINT_THROTTLED] = {
        503,
        ngx_string("endpoint_throttled"),
        ngx_string("Endpoint asked for a pause"),
        ngx_string("The endpoint has had too many requests and asked for a "
                   "pause.  Nothing was sent to it.  Try again after the "
                   "seconds that the Retry-After header gives.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_ENDPOINT_UNAVAILABLE] = {
        503,
        ngx_string("endpoint_unavailable"),
        ngx_string("Endpoint is failing"),
        ngx_string("The endpoint has failed several times in a row and is "
                   "left alone for a while.  Nothing was sent to it.  Try "
                   "again after the seconds that the Retry-After header "
                   "gives.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_ENDPOINT_BUSY] = {
        503,
        ngx_string("endpoint_busy"),
        ngx_string("Too many requests for the endpoint"),
        ngx_string("The gateway has as many requests for the endpoint as it "
                   "may send.  Nothing was sent for this one.  Try again "
                   "after the seconds that the Retry-After header gives.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_LIMIT_UNDECIDED] = {
        503,
        ngx_string("limit_undecided"),
        ngx_string("Rate limit could not be looked up"),
        ngx_string("The gateways' shared store of rate limits gives no "
                   "answer, and nothing is forwarded without it.  Try again "
                   "after the seconds that the Retry-After header gives.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_UNKNOWN_CREDENTIALS] = {
        503,
        ngx_string("unknown_credentials"),
        ngx_string("No credentials for this request"),
        ngx_string("The gateway is not configured for this request.  Nothing "
                   "was forwarded.  Give the request_id to the gateway's "
                   "administrator.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_NO_TOKEN] = {
        503,
        ngx_string("no_token"),
        ngx_string("No access token available"),
        ngx_string("The gateway has no valid access token at the moment.  "
                   "Nothing was revoked.  Try again after the seconds that "
                   "the Retry-After header gives.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_AUDIT_FAILED] = {
        503,
        ngx_string("audit_failed"),
        ngx_string("Request could not be recorded"),
        ngx_string("The gateway forwards nothing that it cannot record, and "
                   "the record of this request could not be written.  Try "
                   "again after the seconds that the Retry-After header "
                   "gives.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_OUTCOME_UNRECORDED] = {
        503,
        ngx_string("outcome_unrecorded"),
        ngx_string("Outcome could not be recorded"),
        ngx_string("The request was forwarded, but its outcome could not be "
                   "recorded, so it is not told here.  It may have been "
                   "carried out.  Try again after the seconds that the "
                   "Retry-After header gives.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_SHUTTING_DOWN] = {
        503,
        ngx_string("shutting_down"),
        ngx_string("Shutting down"),
        ngx_string("This gateway process is shutting down.  Nothing was "
                   "forwarded.  Try again on a new connection.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_UPSTREAM_UNREACHABLE] = {
        502,
        ngx_string("upstream_unreachable"),
        ngx_string("Endpoint cannot be reached"),
        ngx_string("The connection to the endpoint failed or broke.  If the "
                   "request had been sent, its outcome is unknown: check the "
                   "user's state before trying again.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_UPSTREAM_INVALID] = {
        502,
        ngx_string("upstream_invalid"),
        ngx_string("Invalid response from the endpoint"),
        ngx_string("The endpoint's response could not be understood, so the "
                   "outcome is unknown: check the user's state before trying "
                   "again.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_UPSTREAM_TIMEOUT] = {
        504,
        ngx_string("upstream_timeout"),
        ngx_string("Endpoint did not answer in time"),
        ngx_string("The endpoint did not answer in time, so the outcome is "
                   "unknown: check the user's state before trying again.")
    },

    [NGX_HTTP_TSFACE_PROBLEM_INTERNAL] = {
        500,
        ngx_string("internal"),
        ngx_string("Internal error"),
        ngx_string("The gateway failed to handle the request.  Give the "
                   "request_id to the gateway's administrator.")
    },

    /* in records only: nobody is left to be answered */

    [NGX_HTTP_TSFACE_PROBLEM_CLIENT_CLOSED] = {
        499,
        ngx_string("client_closed"),
        ngx_string("Client closed the connection"),
        ngx_string("The caller closed the connection before the answer.")
    }
};
