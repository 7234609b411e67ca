// SPDX-License-Identifier: BSD-2-Clause
// One request and its answer: collecting the head, finding the file, waiting for what is not in memory,
// and giving everything back at the end, whatever is still under way. The stages are drawn in
// http_conn.h; what is answered is decided in http_decide.c. Fast WTD context.
#include "server/http_conn.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/timer.h"
#include "server/dirlist.h"
#include "server/http_job.h"
#include "server/http_stream.h"
#include "server/http_method.h"
#include "server/http_receive.h"
#include "server/http_upload.h"

// One for each connection (http_connections= and HTTP_REFUSE_MAX), twice: one may wait for the disk on
// behalf of a client that vanished. Set at start.
struct pool http_exchange_pool = POOL_INIT("http_exchange", struct http_exchange, 0);
static struct pool parts_pool = POOL_INIT("http_parts", struct http_parts, 0);

struct text_buffer {
	char bytes[HTTP_TEXT_BYTES];
};
// A head that came in pieces or waits: one an exchange.
struct pool http_text_pool = POOL_INIT("http_text", struct text_buffer, 0);

static char path_scratch[HTTP_PATH_MAX + HTTP_PATH_ROOM]; // of the exchange that runs in one pass

void http_exchange_start(void)
{
	http_exchange_pool.maximum = 2 * (http_config.connections_max + HTTP_REFUSE_MAX);
	http_upload_pool.maximum = http_exchange_pool.maximum;
	parts_pool.maximum = http_config.connections_max;
	http_text_pool.maximum = http_exchange_pool.maximum;
}

struct http_exchange *http_exchange_new(struct http_conn *conn)
{
	struct http_exchange *x = pool_alloc(&http_exchange_pool);

	if (!x)
		return NULL;
	x->conn = conn;
	http_parser_init(&x->parser);
	return x;
}

struct http_parts *http_parts_new(void)
{
	return pool_alloc(&parts_pool);
}

static void free_kept(char *kept, uint32_t size)
{
	if (size == HTTP_TEXT_BYTES)
		pool_free(&http_text_pool, kept);
	else if (size)
		kpages_free(kept, size);
}

// Makes `kept` hold at least `bytes`, moving what is in it.
static bool reserve_kept(struct http_exchange *x, size_t bytes, size_t used)
{
	uint32_t size = bytes <= HTTP_TEXT_BYTES ? HTTP_TEXT_BYTES : HTTP_KEPT_LARGE;
	char *to;

	if (x->kept_size >= bytes)
		return true;
	if (bytes > HTTP_KEPT_LARGE)
		return false;
	to = size == HTTP_TEXT_BYTES ? pool_alloc(&http_text_pool) : kpages_alloc(size);
	if (!to)
		return false;
	if (used)
		memcpy(to, x->kept, used);
	if (x->kept && x->head == x->kept)
		x->head = to;
	free_kept(x->kept, x->kept_size);
	x->kept = to;
	x->kept_size = size;
	return true;
}

bool http_exchange_keep(struct http_exchange *x)
{
	size_t head_len = x->parser.pos;
	const char *head = x->head, *path = x->path_text;
	bool head_is_kept = head == x->kept;

	if (x->all_kept)
		return true;
	if (!reserve_kept(x, head_len + x->path.len + HTTP_PATH_ROOM, head_is_kept ? head_len : 0))
		return false;
	if (!head_is_kept && head_len)
		memcpy(x->kept, head, head_len);
	if (path)
		memcpy(x->kept + head_len, path, x->path.len + HTTP_PATH_ROOM);
	x->head = x->kept;
	x->path_text = path ? x->kept + head_len : NULL;
	x->all_kept = true;
	return true;
}

void http_exchange_orphan(struct http_exchange *x)
{
	if (x->page)
		page_wire_put(x->page);
	if (x->inode)
		inode_put(x->inode);
	if (x->parts)
		pool_free(&parts_pool, x->parts);
	if (x->made.bytes)
		kpages_free(x->made.bytes, x->made.size);
	if (x->listing)
		listing_free(x->listing);
	if (x->stream)
		x->stream->free(x->stream);
	http_receive_free(x);
	if (x->upload)
		http_upload_free(x);
	free_kept(x->kept, x->kept_size);
	pool_free(&http_exchange_pool, x);
}

void http_exchange_end(struct http_exchange *x)
{
	bool pending;

	if (x->upload)
		http_upload_cancel(x);
	pending = x->disk_pending;
	if (x->conn && x->conn->x == x)
		x->conn->x = NULL;
	if (x->head_queued && x->stage != HTTP_STAGE_DONE)
		http_count_answer(x);
	x->conn = NULL;
	if (x->getting)
		pending |= !pagecache_cancel(&x->get);
	if (x->stage == HTTP_STAGE_WAIT_NAME)
		pending |= !name_cancel(&x->find);
	if (x->stage == HTTP_STAGE_WAIT_JOB)
		http_job_cancel(x->job);
	if (!pending)
		http_exchange_orphan(x);
}

size_t http_exchange_feed(struct http_exchange *x, const char *bytes, size_t len)
{
	size_t used, before = x->parser.pos;
	enum http_parse_result result =
	    http_parse(&x->parser, &http_config.limits, bytes, len, &used);

	if (before || result == HTTP_PARSE_MORE) {
		if (!reserve_kept(x, x->parser.pos, before)) {
			// What is here is not the whole of it, and the log says nothing of it.
			x->head = NULL;
			x->parser.pos = 0;
			http_answer_closing(x, 503, "There is no memory for the request.");
			return len;
		}
		memcpy(x->kept + before, bytes, used);
		x->head = x->kept;
	} else {
		x->head = bytes;
	}
	if (result == HTTP_PARSE_ERROR)
		http_answer_closing(x, x->parser.status, x->parser.reason);
	if (result == HTTP_PARSE_HEAD) {
		x->path_text = path_scratch;
		http_decide_head(x);
	}
	return used;
}

// ---- names -------------------------------------------------------------------------------------------

static void found(struct http_exchange *x, int status, struct inode *inode)
{
	if (x->index_now) {
		x->index_now = false;
		if (status == 0 && inode->type == INODE_FILE && !rights_hides(inode)) {
			x->inode = inode;
			x->index_used = true;
			http_decide_file(x);
			return;
		}
		if (status == 0)
			inode_put(inode);
		if (status == 0 || status == -ENOENT || status == -ENOTDIR) {
			x->stage = HTTP_STAGE_FIND;
			return;
		}
	}
	if (status == -EIO || status == -EUCLEAN) {
		http_read_errors++;
		http_answer(x, 500, "The volume cannot be read there.");
	} else if (status == -ENOMEM) {
		http_answer(x, 503, "There is no memory for the request.");
	} else if (status == 0 && rights_hides(inode)) {
		inode_put(inode);
		http_answer(x, 404, "There is no such file.");
	} else {
		x->inode = status ? NULL : inode;
		http_method_row(x->request.method)->found(x, status);
	}
}

static void name_done(struct name_request *request)
{
	struct http_exchange *x = CONTAINER_OF(request, struct http_exchange, find);
	struct inode *inode = request->status == 0 ? request->inode : NULL;

	if (!x->conn) {
		x->inode = inode;
		http_exchange_orphan(x);
		return;
	}
	found(x, request->status, inode);
	http_conn_kick(x->conn);
}

// The index file of a directory comes first; it is looked for under its own name, so that a hit costs
// one look-up.
static void find(struct http_exchange *x)
{
	static const char index[] = "/index.html";
	struct inode *inode = NULL;
	size_t len = x->path.len;
	int status;

	x->names = name_generation();
	if (x->index_now) {
		const char *tail = len ? index : index + 1;
		memcpy(x->path_text + len, tail, strlen(tail));
		len += strlen(tail);
	}
	status = name_find_cached(http_root, x->path_text, len, &inode);
	if (status != -EAGAIN) {
		found(x, status, inode);
		return;
	}
	if (!http_exchange_keep(x)) {
		http_answer(x, 503, "There is no memory for the request.");
		return;
	}
	x->find = (struct name_request){
	    .volume = http_root, .path = x->path_text, .len = len, .done = name_done};
	x->stage = HTTP_STAGE_WAIT_NAME;
	name_find(&x->find);
}

// ---- pages -------------------------------------------------------------------------------------------

static void page_done(struct page_get *get)
{
	struct http_exchange *x = CONTAINER_OF(get, struct http_exchange, get);

	x->getting = false;
	if (get->status == 0) {
		x->page = get->page;
		x->page_index = get->index;
	}
	if (!x->conn) {
		http_exchange_orphan(x);
		return;
	}
	x->get_status = get->status;
	http_conn_kick(x->conn);
}

bool http_page_ready(struct http_exchange *x, int *status)
{
	uint64_t index = x->at >> PAGE_SHIFT;

	*status = 0;
	if (x->getting)
		return false;
	if (x->page && x->page_index == index)
		return true;
	if (x->page)
		page_wire_put(x->page);
	x->page = NULL;
	if (x->get_status) {
		*status = x->get_status;
		x->get_status = 0;
		return false;
	}
	x->page = pagecache_probe(x->inode, index);
	x->page_index = index;
	if (x->page)
		return true;
	x->get = (struct page_get){.inode = x->inode,
				   .index = index,
				   .until = (x->end + PAGE_SIZE - 1) >> PAGE_SHIFT,
				   .done = page_done};
	x->getting = true;
	pagecache_get(&x->get);
	return false;
}

// The first page before the head: an unreadable file can still be answered with a 500.
static bool first_page(struct http_exchange *x)
{
	int status;

	if (http_page_ready(x, &status)) {
		x->stage = HTTP_STAGE_SEND;
		return true;
	}
	if (status == 0)
		return false;
	if (status == -ENOMEM) {
		http_conn_retry(x->conn);
		return false;
	}
	http_read_errors++;
	http_answer(x, 500, "The file cannot be read.");
	return true;
}

// Its size is another one than when the answer was decided (it waited for the disk, or for memory) and no byte of the
// answer is queued: what the head would say, and the page that is held, are not of one state of the file.
static bool outdated(const struct http_exchange *x)
{
	return UNLIKELY(!x->head_queued) &&
	       (x->body == HTTP_BODY_FILE || x->body == HTTP_BODY_PARTS) &&
	       x->size != x->inode->size;
}

static void decide_again(struct http_exchange *x)
{
	if (x->page)
		page_wire_put(x->page);
	x->page = NULL;
	http_decide_content(x);
}

// ---- the run -----------------------------------------------------------------------------------------

static bool waits(struct http_exchange *x)
{
	if (!http_exchange_keep(x)) {
		// The receive buffer goes: what the log would say of the request goes with it.
		x->head = NULL;
		x->parsed = false;
		http_conn_doom(x->conn);
	}
	return false;
}

bool http_exchange_run(struct http_exchange *x)
{
	for (;;) {
		switch (x->stage) {
		case HTTP_STAGE_ADMIT:
			http_admit(x);
			break;
		case HTTP_STAGE_FIND:
			find(x);
			break;
		case HTTP_STAGE_RECEIVE:
			http_receive_continue(x);
			return waits(x);
		case HTTP_STAGE_FIRST:
			if (!first_page(x))
				return waits(x);
			break;
		case HTTP_STAGE_SEND: {
			if (outdated(x)) {
				decide_again(x);
				break;
			}
			enum http_progress progress = http_send(x);
			if (progress == HTTP_SENT) {
				x->stage = HTTP_STAGE_DONE;
				return true;
			}
			if (progress == HTTP_FAILED)
				http_conn_doom(x->conn);
			return waits(x);
		}
		default:
			return waits(x);
		}
	}
}
