// SPDX-License-Identifier: BSD-2-Clause
// What the server remembers of a file: its validators and the head of a 200, made once for each inode
// and patched with the date once a second. Hangs on inode->server_data and goes with the inode. Fast
// WTD context, but for the inode layer's forget hook.
#pragma once

#include "fs/inode.h"
#include "net/pagebuf.h"
#include "server/http_cond.h"
#include "server/http_date.h"
#include "server/http_text.h"

#define HTTP_FILE_HEAD_MAX 512

struct http_file {
	uint32_t type; // http_mime.h's number; a hard link with another extension makes it anew
	uint16_t date_at;
	uint8_t etag_len;
	int64_t head_second; // whose date the head has
	int64_t modified;    // Unix seconds, not in the future
	char etag[HTTP_ETAG_MAX];
	char last_modified[HTTP_DATE_LEN];
	struct answer_head answer;     // head
	char head[HTTP_FILE_HEAD_MAX]; // of a 200 on a connection that stays, empty line included
};

// A strong entity tag (RFC 9110 section 8.8.1), with its quotes: at most HTTP_ETAG_MAX bytes. Any context.
void http_etag_write(struct text *t, const struct inode *inode);
void http_file_start(void);
// Valid until the next call for another inode (without memory it is made in a static place).
struct http_file *http_file_of(struct inode *inode, uint32_t type);
// The head of a 200, with the date of now.
const char *http_file_head(struct http_file *file, uint16_t *len);
