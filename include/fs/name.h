// SPDX-License-Identifier: BSD-2-Clause
// From a path to an inode. The name cache answers at once when it knows every step (absent names are
// remembered too); otherwise a worker WTD reads the directories and the caller goes on when told.
//
// A path is bytes, "a/b/c" from the volume's root, no leading slash needed, no "." or ".." (the server
// has removed them), empty for the root; one that ends in '/' must lead to a directory (-ENOTDIR).
// Symbolic links are followed inside the volume (an absolute target starts at the volume's root, ".."
// stops there), at most 40 of them (-ELOOP).
#pragma once

#include "fs/inode.h"
#include "kernel/wtd.h"

// Fast WTD or thread context. 0 with a reference in *out, -EAGAIN when it would have to read the disk,
// or the answer: -ENOENT, -ENOTDIR, -ELOOP, -ENAMETOOLONG, -EIO, -EUCLEAN.
int name_find_cached(struct volume *volume, const char *path, size_t len,
		     struct inode **out) MUST_CHECK;

// The same without -EAGAIN, for a fast WTD that can go on later. The path must stay until done.
struct name_request {
	struct volume *volume;
	const char *path;
	size_t len;
	void (*done)(struct name_request *request); // fast WTD context, never from inside name_find
	int status;				    // valid in done
	struct inode *inode; // valid in done when status is 0: a reference for the callee
	struct wtd work;     // name.c's
	bool cancelled;	     // name.c's
	uint8_t stage;	     // name.c's; 0 before the first name_find
};
void name_find(struct name_request *request); // fast WTD or thread context
// done will not be called, or has been. The caller may free the request once this returned true; false:
// a worker is in the middle of it and will call done all the same, soon. Fast WTD context.
bool name_cancel(struct name_request *request) MUST_CHECK;
// For threads: sleeps.
int name_find_wait(struct volume *volume, const char *path, size_t len,
		   struct inode **out) MUST_CHECK;
// As name_find_wait, but the last name is not followed when it is a symbolic link's: the link itself is the
// answer (unless the path ends in '/').
int name_find_entry_wait(struct volume *volume, const char *path, size_t len,
			 struct inode **out) MUST_CHECK;

// Changes with every name_forget: whoever keeps what a look-up found keeps this with it, read before the
// look-up, and looks anew when it has changed. Any context.
uint64_t name_generation(void);

// For writers, after a name was made, removed or changed in directory inode `dir`. Fast WTD or thread
// context. What was looked up before, or is being looked up now, is not remembered for that name.
void name_forget(struct volume *volume, uint64_t dir, const char *name, size_t len);
// The same where the name led to nothing, or to what is no directory and no symbolic link: paths of directories
// stay known.
void name_forget_leaf(struct volume *volume, uint64_t dir, const char *name, size_t len);
