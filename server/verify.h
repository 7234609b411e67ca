// SPDX-License-Identifier: BSD-2-Clause
// Verifying passwords, one at a time, in a thread: a hash takes a large part of a second on a slow machine,
// and neither the network (fast WTDs) nor the disks (workers) may wait for it.
//
//	auth_ask --verify_start--> QUEUED --the thread--> VERIFYING --> done: remembered or counted,
//	                             |                                  HTTP_STAGE_ADMIT
//	                             +--client gone--> dropped
#pragma once

#include "server/auth_delay.h"
#include "server/password.h"
#include "server/users.h"

struct http_exchange;

#define VERIFY_MAX	   16 // waiting at once, in all
#define VERIFY_PER_ADDRESS 4
#define VERIFY_TAG	   32 // bytes of the keyed hash

struct verify_request {
	char hash[USERS_HASH_MAX], password[PASSWORD_MAX];
	size_t hash_len, len;
	int16_t user; // of the table; USER_UNKNOWN: the answer is known, the time is not to tell it
	uint32_t table;
	struct auth_source source;
	uint8_t tag[VERIFY_TAG]; // auth.c's keyed hash of user and password
};
void verify_start_thread(void); // boot, thread context
// Fast WTD context. x waits; the request is copied. False: too many wait.
bool verify_start(struct http_exchange *x, const struct verify_request *request);
