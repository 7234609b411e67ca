// SPDX-License-Identifier: BSD-2-Clause
// HTTP Digest (RFC 7616) for users who asked for it: their line in the users file has H(user:realm:password),
// which is as good as the password to whoever reads it. SHA-256, and MD5 for those whose client knows
// nothing else; qop=auth only. Fast WTD context.
//
// A nonce says when it was made and is signed, so that a challenge costs no memory. From its first use on a
// table has its counts: each may come once, out of order by at most 63. A nonce that is too old, or whose
// place in the table was needed, is stale: the client tries again with the new one, without asking anybody.
#pragma once

#include "kernel/siphash.h"
#include "server/auth.h"
#include "server/auth_delay.h"

#define DIGEST_NONCE_NS (300 * NS_PER_SEC)

void digest_start(void);
void digest_forget(void); // all nonces are stale
// text: the parameters behind "Digest ".
enum auth_result digest_ask(struct http_exchange *x, const struct users *users, const char *text,
			    size_t len, struct auth_source *source,
			    const struct siphash_key *name_key);
void digest_challenge(const struct users *users, bool stale, struct text *t);
// Hex of H(user:realm:password), terminated, for the users file.
#define DIGEST_SECRET_MAX 65
void digest_secret(bool md5, const char *user, size_t user_len, const char *password, size_t len,
		   char out[DIGEST_SECRET_MAX]);
