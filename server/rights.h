// SPDX-License-Identifier: BSD-2-Clause
// Who may do what: the one place that every verb asks. Users and their rights come from a file on the root
// volume (docs/security.md); on a volume that is read-only nobody may change anything.
//
//	if (http_may(x, path, len, RIGHT_WRITE))   // http_method.h; rights_check says the same without an answer
//		return;                            // answered, or waiting: to be decided anew
#pragma once

#include "kernel/base.h"

struct http_exchange;
struct inode;
struct text;
struct users;

// In the manner of NetWare's trustees: given for a directory, they hold for what is below it, until a
// directory further down says otherwise.
enum right {
	RIGHT_READ = BIT(0),   // open files
	RIGHT_LIST = BIT(1),   // see what a directory has
	RIGHT_WRITE = BIT(2),  // change files and properties that are there
	RIGHT_CREATE = BIT(3), // make files and directories
	RIGHT_ERASE = BIT(4),  // remove them; MOVE needs it at its source
};

// Who an exchange's user is, once that was asked.
enum rights_who_state {
	WHO_UNASKED,
	WHO_KNOWN,  // the credentials are right: user
	WHO_NOBODY, // none were sent, or they are wrong
};
struct rights_who {
	uint8_t state;	// enum rights_who_state
	bool stale;	// Digest: right, but for the nonce's age
	bool basic;	// the user has no secret for Digest: offer Basic only
	uint8_t answer; // WHO_NOBODY: enum auth_result
	int16_t user;	// WHO_KNOWN: index into the table
	uint32_t table; // of which table
};

// Fast WTD context. Whether the exchange's user has `rights` for the path (decoded, from the volume's root, no
// leading slash). 0; 401: not known who asks, and credentials may help (x->reason is set, the answer
// gets WWW-Authenticate); 403: known and not allowed, or nobody may; 429, 503: too many wrong passwords, too
// many to verify; -EAGAIN: the password is being verified (slow on purpose, in a thread of its own): the
// exchange waits in HTTP_STAGE_WAIT_JOB and comes back to HTTP_STAGE_ADMIT.
// Once it has given anything but -EAGAIN for an exchange it does not give -EAGAIN for it any more.
int rights_check(struct http_exchange *x, const char *path, size_t len, unsigned rights) MUST_CHECK;
// The same, of whether the user has any right there at all: who has none is not told what is there.
int rights_check_any(struct http_exchange *x, const char *path, size_t len) MUST_CHECK;
// Any context. Whether anybody may change anything: the kernel's word write=on was given.
bool rights_writing(void);
// The WWW-Authenticate fields of a 401.
void rights_challenge(const struct http_exchange *x, struct text *t);
// The name of the exchange's user, if it was asked for; null: nobody. Valid until the next table.
const char *rights_user(const struct http_exchange *x, size_t *len);
// What somebody may do there, as far as it was asked who they are (x->who). Fast WTD context, or WTDs disabled.
unsigned rights_of(const struct rights_who *who, const char *path, size_t len);

// Fast WTD context. Between a path and what lies below it rights change at the lines of the users file only: the next
// line for a place below the path (its path and length; null: no more). *cursor begins with 0.
const char *rights_line_below(const char *path, size_t len, uint32_t *cursor, size_t *line_len);

// Fast WTD context. Whether it is what the prefix /.pagewire/ hides, however a link leads there.
bool rights_hides(const struct inode *inode);

// Fast WTD context. From now on this table counts (null: the default, everybody reads and lists); the one
// before it is freed, verified passwords are forgotten.
void rights_install(struct users *users);
const struct users *rights_users(void); // fast WTD context, or WTDs disabled
