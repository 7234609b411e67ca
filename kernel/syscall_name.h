// SPDX-License-Identifier: BSD-2-Clause
// A program's path on its way to the provider that has it: for the calls that take names.
#pragma once

#include "kernel/stream.h"
#include "kernel/syscall.h"

struct name {
	char *text;	  // absolute, normalised: kpages, PATH_BYTES
	const char *rest; // of it, behind the provider's prefix
	size_t rest_len;
	const struct name_provider *provider;
	bool directory; // it ended in a slash: nothing but a directory will do
	int error;	// 0, or why the rest means nothing
};

// Thread context of the program; ended with name_put whatever `error` says.
struct name name_get(int at_fd, uintptr_t user);
void name_put(struct name *n);
// What a path leads to; `flags`: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH (an empty path: the descriptor itself).
int64_t name_stat(int at_fd, uintptr_t path, uint64_t flags, struct stream_stat *st);
// Whether the path is empty (or null), and the flags say that then the descriptor is meant.
bool name_is_empty(uintptr_t path, uint64_t flags);
