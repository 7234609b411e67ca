// SPDX-License-Identifier: BSD-2-Clause
// The table of users and trustees: what the file /.pagewire/users says (docs/security.md has its grammar).
// Pure: text in, a table or the number of the wrong line out. A table is never changed, only replaced.
//
//	user anna $argon2id$v=19$m=8192,t=3,p=1$SALT$HASH
//	trustee / * RL
//	trustee /incoming anna RLWCE
//
// A trustee's rights hold for the directory and what is below it, until a line for the same trustee names
// a directory further down. A user has what they have as themselves, as a known user ("+") and as anybody ("*").
#pragma once

#include "kernel/base.h"
#include "server/rights.h"

#define USERS_FILE_MAX	 (256UL << 10) // bytes
#define USERS_MAX	 1000
#define USERS_NAME_MAX	 64
#define USERS_HASH_MAX	 160 // of a password, encoded
#define TRUSTEES_MAX	 1000
#define USERS_SHA256_HEX 64
#define USERS_MD5_HEX	 32

// Who asks: an index into the table, or one of these.
#define USER_ANYBODY (-1)
#define USER_UNKNOWN (-2) // no such user

struct user {
	const char *name, *hash;  // not terminated
	const char *sha256, *md5; // hex of H(user:realm:password) for Digest, or null
	uint8_t name_len, hash_len;
	bool off; // kept in the file, may not log in
};

struct trustee {
	const char *path; // as http_path_decode gives it
	uint16_t len;
	int16_t who;	// index of a user, USER_ANYBODY, or TRUSTEE_KNOWN
	uint8_t rights; // enum right
};
#define TRUSTEE_KNOWN (-2) // "+"

struct users {
	struct user *users;
	struct trustee *trustees;
	uint32_t user_count, trustee_count;
	bool any_sha256, any_md5; // some user asks for Digest
	size_t bytes;		  // of the whole block
	char *text;		  // our copy of the file
	char *scratch;		  // for a path being read
};

struct users_error {
	unsigned line; // 0: the whole file
	const char *reason;
};

// Any context but interrupt. Null: see *error.
struct users *users_parse(const char *text, size_t len, struct users_error *error);
void users_free(struct users *users);
// Index, or USER_UNKNOWN.
int users_find(const struct users *users, const char *name, size_t len);
// What `who` may do at a path (as http_path_decode gives it). Null table: everybody reads and lists.
unsigned users_rights(const struct users *users, int who, const char *path, size_t len);

bool users_name_ok(const char *name, size_t len);
// "RLWCE" in any order and case, "ALL", or "-" for none. False: neither.
bool rights_parse(const char *text, size_t len, unsigned *rights);
#define RIGHTS_TEXT 6
void rights_format(unsigned rights, char out[RIGHTS_TEXT]); // terminated
