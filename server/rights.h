// SPDX-License-Identifier: BSD-2-Clause
// Who may do what: the one place that every verb asks. Users and their rights come from a file on the root
// volume (docs/security.md); without the kernel's word write=on nobody may change anything.
#pragma once

#include "kernel/base.h"

struct http_exchange;

// In the manner of NetWare's trustees: given for a directory, they hold for what is below it, until a
// directory further down says otherwise.
enum right {
	RIGHT_READ = BIT(0),   // open files
	RIGHT_LIST = BIT(1),   // see what a directory has
	RIGHT_WRITE = BIT(2),  // change files and properties that are there
	RIGHT_CREATE = BIT(3), // make files and directories
	RIGHT_ERASE = BIT(4),  // remove them; MOVE needs it at its source
};

// Fast WTD context. Whether the exchange's user has `rights` for the path (decoded, from the volume's root, no
// leading slash). 0; 401: not known who asks, and credentials may help (x->reason is set, the answer
// gets WWW-Authenticate); 403: known and not allowed, or nobody may; -EAGAIN: the password is being
// verified (slow on purpose, on a worker): the exchange waits in HTTP_STAGE_WAIT_JOB and is decided anew.
// Requests that http_recall.h remembers are not asked again: who changes rights calls http_recall_forget.
int rights_check(struct http_exchange *x, const char *path, size_t len, unsigned rights) MUST_CHECK;
// Any context. Whether anybody may change anything: the kernel's word write=on was given.
bool rights_writing(void);
