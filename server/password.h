// SPDX-License-Identifier: BSD-2-Clause
// Password hashes: Argon2id (RFC 9106) in the PHC string format that its reference program `argon2 -id -e`
// writes, so that a users file can be made on any machine:
//
//	$argon2id$v=19$m=8192,t=3,p=1$SALT$HASH          m: KB of memory, t: passes, p: lanes
//
// Slow on purpose: each hash reads and writes m KB t times. Thread context: the memory is taken for the
// time of one hash and given back.
#pragma once

#include "kernel/base.h"

#define PASSWORD_MAX	    256	  // bytes
#define PASSWORD_MEMORY_MAX 16384 // KB that a hash in the file may ask for
#define PASSWORD_PASSES_MAX 16
#define PASSWORD_MEMORY	    8192 // of hashes made here
#define PASSWORD_PASSES	    3

// 0: it is that password. -EACCES: it is not. -EINVAL: a hash that is not ours to read. -ENOMEM.
int password_verify(const char *hash, size_t hash_len, const char *password, size_t len) MUST_CHECK;
// Terminated text in out. -ENOMEM, -ERANGE. salt: 16 random bytes.
int password_hash(const char *password, size_t len, const uint8_t salt[16], char *out,
		  size_t size) MUST_CHECK;
