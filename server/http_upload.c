// SPDX-License-Identifier: BSD-2-Clause
// The bytes of an upload: see http_upload.h.
#include "server/http_upload.h"
#include "kernel/kstat.h"
#include "kernel/panic.h"
#include "server/http_receive.h"

// One for each exchange: set at start.
struct pool http_upload_pool = POOL_INIT("http_upload", struct http_upload, 0);
static uint64_t uploads_now;
KSTAT_GAUGE(uploads_now, "pagewire_http_uploads", "Uploads in progress");
static uint64_t uploads, failed, abandoned, held_back, uploaded;
KSTAT_COUNTER(uploads, "pagewire_http_uploads_total", "Uploads begun");
KSTAT_COUNTER(failed, "pagewire_http_uploads_failed_total",
	      "Uploads that the volume ended: full, failed");
KSTAT_COUNTER(abandoned, "pagewire_http_uploads_abandoned_total",
	      "Uploads whose client went away or stood still");
KSTAT_COUNTER(held_back, "pagewire_http_uploads_held_back_total",
	      "Times an upload waited for room in the cache, or for the disk");
KSTAT_COUNTER(uploaded, "pagewire_http_uploaded_bytes_total",
	      "Bytes of uploads taken into the cache");

struct http_upload *http_upload_new(struct http_exchange *x)
{
	struct http_upload *u = pool_alloc(&http_upload_pool);

	if (!u) {
		http_answer(x, 503, "There is no memory for the request.");
		return NULL;
	}
	u->x = x;
	u->length = UINT64_MAX;
	x->upload = u;
	uploads++;
	uploads_now++;
	return u;
}

void http_upload_free(struct http_exchange *x)
{
	struct http_upload *u = x->upload;

	http_put_gone(u);
	if (u->dir)
		inode_put(u->dir);
	if (u->file)
		inode_put(u->file);
	if (u->lent)
		pbuf_free(u->lent);
	uploads_now--;
	x->upload = NULL;
	pool_free(&http_upload_pool, u);
}

// What the write that waits has of its bytes lies in the first buffer that the connection holds.
void http_upload_cancel(struct http_exchange *x)
{
	struct http_upload *u = x->upload;

	abandoned += x->stage == HTTP_STAGE_RECEIVE && u->file;
	if (!u->writing || !x->disk_pending)
		return;
	ASSERT(x->conn->held);
	if (file_write_cancel(&u->write)) {
		x->disk_pending = false;
	} else {
		u->lent = x->conn->held->next;
		pbuf_ref(u->lent);
	}
}

static void fail(struct http_exchange *x, int error)
{
	failed++;
	http_change_error(x, error);
}

static void write_done(struct file_write *write)
{
	struct http_upload *u = CONTAINER_OF(write, struct http_upload, write);
	struct http_exchange *x = u->x;

	x->disk_pending = false;
	x->receive_waits = false;
	if (!x->conn) {
		http_exchange_orphan(x);
		return;
	}
	if (write->status) {
		u->writing = false;
		fail(x, write->status);
	}
	http_conn_kick(x->conn);
}

// After a wait the same bytes come again, from the first on that was not reported as taken then.
static size_t upload_take(struct http_exchange *x, const char *bytes, size_t len)
{
	struct http_upload *u = x->upload;
	struct file_write *w = &u->write;
	int status = 0;

	if (len > u->length - x->received) {
		http_answer(x, 400, "The body is longer than its range.");
		return 0;
	}
	if (u->writing) {
		ASSERT(w->len <= len && w->bytes == bytes + len - w->len);
	} else {
		w->bytes = bytes;
		w->len = len;
	}
	u->writing = false;
	if (w->len)
		status = file_write(w);
	if (status == -EAGAIN) {
		held_back++;
		u->writing = true;
		x->receive_waits = true;
		x->disk_pending = true;
	} else if (status) {
		fail(x, status);
	}
	uploaded += len - w->len;
	return len - w->len;
}

static void sync_done(struct file_sync *sync)
{
	struct http_upload *u = CONTAINER_OF(sync, struct http_upload, sync);
	struct http_exchange *x = u->x;

	x->disk_pending = false;
	if (!x->conn) {
		http_exchange_orphan(x);
		return;
	}
	if (sync->status)
		fail(x, sync->status);
	else
		http_put_written(x);
	http_conn_kick(x->conn);
}

static void upload_complete(struct http_exchange *x)
{
	struct http_upload *u = x->upload;

	if (u->length != UINT64_MAX && x->received != u->length) {
		http_answer(x, 400, "The body is shorter than its range.");
		return;
	}
	u->sync.inode = u->file;
	u->sync.done = sync_done;
	x->stage = HTTP_STAGE_WAIT_DISK;
	x->disk_pending = true;
	file_sync(&u->sync);
}

void http_upload_receive(struct http_exchange *x)
{
	static const struct http_receiver upload = {upload_take, upload_complete};

	x->upload->write.inode = x->upload->file;
	x->upload->write.done = write_done;
	http_receive_begin(x, &upload);
}
