// SPDX-License-Identifier: BSD-2-Clause
// The file that says who may do what, /.pagewire/users on the root volume: read at start and whenever it
// changed, checked as a whole before any of it counts. Without it everybody reads and lists. A file with a
// wrong line changes nothing: the log names the line, and what counted before goes on to count (at start:
// nobody may do anything).
#pragma once

#include "kernel/base.h"

#define RIGHTS_DIRECTORY  ".pagewire"
#define RIGHTS_FILE	  ".pagewire/users"
#define RIGHTS_HIDDEN_MAX 64 // files in that directory; more are hidden by their path only

void rights_file_start(void); // boot, thread context, after the volumes
// Thread or worker context: reads the file now. 0, or why what counted before counts on.
int rights_file_load(void);
// Thread or worker context. The file's text in kpages of USERS_FILE_MAX bytes. -ENOENT: there is none.
int rights_file_read(char **text, size_t *len) MUST_CHECK;
// Thread context. The text becomes the file, durably, and counts. 0, or an error of fs/file.h.
int rights_file_write(const char *text, size_t len) MUST_CHECK;
