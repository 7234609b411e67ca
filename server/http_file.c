// SPDX-License-Identifier: BSD-2-Clause
// Prepared response heads: see http_file.h.
#include "server/http_file.h"
#include "fs/volume.h"
#include "kernel/cpu.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pool.h"
#include "server/http_conn.h"
#include "server/http_mime.h"
#include "server/http_response.h"

// One for each inode in memory that was ever served; beyond that heads are made each time.
static struct pool files = POOL_INIT("http_inode_head", struct http_file, 65536);
static struct http_file spare; // the one that had no memory
static uint64_t head_names;    // given so far

static void forget(struct inode *inode)
{
	pool_free(&files, inode->server_data);
	inode->server_data = NULL;
}

void http_file_start(void)
{
	inode_set_forget_hook(forget);
	head_names = cpu_random();
}

// Inode, generation, time to the nanosecond, and the volume, since one host name may show several.
void http_etag_write(struct text *t, const struct inode *inode)
{
	text_char(t, '"');
	text_hex(t, inode->volume->id);
	text_char(t, '-');
	text_hex(t, inode->number);
	text_char(t, '-');
	text_hex(t, inode->generation);
	text_char(t, '-');
	text_hex(t, (uint64_t)inode->mtime_sec);
	text_char(t, '.');
	text_hex(t, inode->mtime_nsec);
	text_char(t, '"');
}

static void make_etag(struct http_file *file, const struct inode *inode)
{
	struct text t = TEXT_OF(file->etag);

	http_etag_write(&t, inode);
	ASSERT(!t.full);
	file->etag_len = (uint8_t)t.len;
}

static void make(struct http_file *file, const struct inode *inode, uint32_t type, int64_t now)
{
	struct text t = TEXT_OF(file->head);
	char date[HTTP_DATE_LEN];

	file->type = type;
	file->modified = MIN(inode->mtime_sec, now);
	http_date_format(file->modified, file->last_modified);
	make_etag(file, inode);
	http_date_format(now, date);
	http_head_begin(&t, 200, date);
	file->date_at = (uint16_t)(t.len - HTTP_DATE_LEN - 2);
	http_head_file(&t, file, inode->size);
	http_head_end(&t, true, 1);
	ASSERT(!t.full);
	file->answer.bytes = file->head;
	file->answer.len = (uint16_t)t.len;
	file->head_second = now;
	file->answer.name = ++head_names;
}

struct http_file *http_file_of(struct inode *inode, uint32_t type)
{
	struct http_file *file = inode->server_data;

	if (LIKELY(file && file->type == type))
		return file;
	if (!file)
		file = inode->server_data = pool_alloc(&files);
	if (!file)
		file = &spare;
	make(file, inode, type, http_now());
	return file;
}

const char *http_file_head(struct http_file *file, uint16_t *len)
{
	int64_t now = http_now();

	if (file->head_second != now) {
		http_date_format(now, file->head + file->date_at);
		file->head_second = now;
		file->answer.name = ++head_names;
	}
	*len = file->answer.len;
	return file->head;
}
