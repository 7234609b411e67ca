// SPDX-License-Identifier: BSD-2-Clause
// Who asks: the Authorization field (RFC 7617 Basic, RFC 7616 Digest) against the table of users. Fast WTD
// context.
//
// A password is slow to verify on purpose, so that is done in a thread of its own (verify.h), and what was
// right is remembered for some minutes as a keyed hash of user and password: the requests that follow cost
// one hash. After some wrong ones an address, and a user, have to wait (auth_delay.h).
#pragma once

#include "kernel/base.h"

struct http_exchange;
struct text;
struct users;
struct verify_request;

#define AUTH_REALM "Pagewire" // part of Digest's stored secrets: H(user:Pagewire:password)

enum auth_result {
	AUTH_KNOWN, // x->who.user
	AUTH_NONE,  // no credentials, or none that can be read
	AUTH_WRONG,
	AUTH_LATER, // being verified: x waits in HTTP_STAGE_WAIT_JOB, then HTTP_STAGE_ADMIT again
	AUTH_TOO_MANY, // wrong ones before this
	AUTH_BUSY      // too many are being verified, or no memory to
};
void auth_start(void); // boot: random keys
// `table` numbers `users`. The exchange is asked once for each table.
enum auth_result auth_ask(struct http_exchange *x, const struct users *users, uint32_t table);
void auth_challenge(const struct http_exchange *x, const struct users *users, struct text *t);
// Everything that was verified; from now on the table with that number counts.
void auth_forget(uint32_t table);

// verify.c's. How it went, for the exchange, if it is still there; and for those after it.
void auth_verified(struct http_exchange *x, const struct verify_request *request, int result);
void auth_learn(const struct verify_request *request, int result);
bool auth_knows(const struct verify_request *request);
