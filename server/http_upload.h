// SPDX-License-Identifier: BSD-2-Clause
// A body on its way into a file (the write path's stages 5 to 9): PUT into a new file that gets its name at the
// end, PUT with Content-Range and PATCH into one that is there.
//
//	           new file: a worker makes it      body complete          pages written
//	put_found --------------------------> RECEIVE ----------> file_sync ------------> link (worker)
//	     |      there already             ^  |                WAIT_DISK               WAIT_JOB
//	     +--------------------------------+  | the cache has no room: file_write's done     |
//	                                      ^--+                                               v
//	                         SEND <-- durable (WAIT_DISK) <----------------------------------+
//
// Whatever ends the exchange before the link leaves what was there before: the new file has no name, and goes
// with its last reference. Bytes are copied once, from the receive buffer into the page (file_write). Fast
// WTD context.
#pragma once

#include "server/http_change.h"

struct http_upload {
	struct http_exchange *x;
	struct inode *dir;  // reference; null: the file has its name already
	struct inode *file; // reference: what is written
	struct file_write write;
	struct file_sync sync;
	struct pbuf *lent; // what a write that cannot be called back still reads from
	uint64_t length;   // of the body, if it must have one; else UINT64_MAX
	uint64_t expected; // the inode the name led to; 0: nothing
	uint32_t generation;
	bool conditional; // it must lead there still when the file gets the name
	bool writing;	  // write has bytes of ours and done is to come, or has come and we go on
	bool has_mtime;
	int64_t mtime;		  // X-OC-Mtime, Unix
	struct http_upload *next; // of those that write into a file that is there
};

extern struct pool http_upload_pool;
// Null: no memory, and it was answered.
struct http_upload *http_upload_new(struct http_exchange *x);
// The file and the offset are set: takes the body. committed: what follows when its bytes are on the disk.
void http_upload_receive(struct http_exchange *x);
// http_exchange.c's: the exchange ends; x->disk_pending says whether a callback is to come; and free.
void http_upload_cancel(struct http_exchange *x);
void http_upload_free(struct http_exchange *x);
// http_put.c's: the bytes are on the disk; the upload ends, however it went.
void http_put_written(struct http_exchange *x);
void http_put_gone(struct http_upload *u);
