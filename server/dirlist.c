// SPDX-License-Identifier: BSD-2-Clause
// Collecting and sorting a directory's entries: see dirlist.h. Worker context but for listing_start and
// what follows `done`.
#include "server/dirlist.h"
#include "fs/name.h"
#include "fs/volume.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "server/http_conn.h"

#define CHUNK_BYTES  65536UL
#define MEMORY_LEAST (4UL << 20)
#define MEMORY_MOST  (64UL << 20)
#define YIELD_EVERY  512 // entries

struct listing_chunk {
	struct listing_chunk *next;
	size_t used;
	char bytes[];
};

static uint64_t memory_used; // by all listings; atomic

static uint64_t memory_limit(void)
{
	struct pmm_stats stats;

	pmm_stats(&stats);
	return MAX(MEMORY_LEAST, MIN(stats.frames_total * PAGE_SIZE / 8, MEMORY_MOST));
}

// Takes kpages within the bound. *alone: it failed, and no other listing is to blame.
static void *take(struct listing *l, size_t bytes, bool *alone)
{
	uint64_t now = __atomic_add_fetch(&memory_used, bytes, __ATOMIC_RELAXED);
	void *p = now <= memory_limit() ? kpages_alloc(bytes) : NULL;

	*alone = now - bytes == l->memory;
	if (!p) {
		__atomic_sub_fetch(&memory_used, bytes, __ATOMIC_RELAXED);
		return NULL;
	}
	l->memory += bytes;
	return p;
}

static void give_back(struct listing *l, void *p, size_t bytes)
{
	kpages_free(p, bytes);
	l->memory -= bytes;
	__atomic_sub_fetch(&memory_used, bytes, __ATOMIC_RELAXED);
}

static size_t order_bytes(size_t count)
{
	return ALIGN_UP(MAX(count, 1UL) * sizeof(struct listing_entry *), PAGE_SIZE);
}

void listing_free(struct listing *l)
{
	while (l->chunks) {
		struct listing_chunk *chunk = l->chunks;
		l->chunks = chunk->next;
		give_back(l, chunk, CHUNK_BYTES);
	}
	if (l->entries)
		give_back(l, l->entries, order_bytes(l->count));
	if (l->dir)
		inode_put(l->dir);
	kpages_free(l, sizeof(*l));
}

// Null: the bound is reached (l->cut) or memory is (l->status).
struct listing_entry *listing_add(struct listing *l, const char *name, uint8_t len)
{
	size_t bytes = ALIGN_UP(sizeof(struct listing_entry) + len, sizeof(uint64_t));
	struct listing_chunk *chunk = l->chunks;
	struct listing_entry *entry;
	bool alone = true;

	if (l->count == LISTING_ENTRIES_MAX) {
		l->cut = true;
		return NULL;
	}
	if (!chunk || chunk->used + bytes > CHUNK_BYTES - sizeof(*chunk)) {
		// The array that listing_arrange makes must still fit afterwards.
		bool room = l->memory + CHUNK_BYTES + order_bytes(l->count + CHUNK_BYTES / 32) <=
			    memory_limit();
		chunk = room ? take(l, CHUNK_BYTES, &alone) : NULL;
		if (!chunk) {
			l->cut = alone && l->count;
			l->status = l->cut ? 0 : -ENOMEM;
			return NULL;
		}
		chunk->next = l->chunks;
		chunk->used = 0;
		l->chunks = chunk;
	}
	entry = (struct listing_entry *)(void *)(chunk->bytes + chunk->used);
	chunk->used += bytes;
	entry->len = len;
	memcpy(entry->name, name, len);
	l->count++;
	return entry;
}

// ---- order -------------------------------------------------------------------------------------------

static int compare_names(const struct listing_entry *a, const struct listing_entry *b)
{
	size_t n = MIN(a->len, b->len);

	for (size_t i = 0; i < n; i++) {
		uint8_t x = (uint8_t)a->name[i], y = (uint8_t)b->name[i];
		x = x >= 'A' && x <= 'Z' ? x | 0x20 : x;
		y = y >= 'A' && y <= 'Z' ? y | 0x20 : y;
		if (x != y)
			return x < y ? -1 : 1;
	}
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return memcmp(a->name, b->name, n);
}

// Whether a stands before b.
static bool before(const struct listing *l, const struct listing_entry *a,
		   const struct listing_entry *b)
{
	bool a_dir = a->type == INODE_DIRECTORY, b_dir = b->type == INODE_DIRECTORY;
	int order = 0;

	if (a_dir != b_dir)
		return a_dir;
	if (l->sort == LISTING_BY_SIZE)
		order = a->size < b->size ? -1 : a->size > b->size;
	else if (l->sort == LISTING_BY_DATE)
		order = a->mtime < b->mtime ? -1 : a->mtime > b->mtime;
	if (order == 0)
		order = compare_names(a, b);
	return l->descending ? order > 0 : order < 0;
}

static void sift(struct listing *l, size_t root, size_t count)
{
	struct listing_entry **e = l->entries, *moving = e[root];

	for (size_t child; (child = 2 * root + 1) < count; root = child) {
		if (child + 1 < count && before(l, e[child], e[child + 1]))
			child++;
		if (!before(l, moving, e[child]))
			break;
		e[root] = e[child];
	}
	e[root] = moving;
}

// Heapsort: in place, and no directory is a bad case.
bool listing_arrange(struct listing *l)
{
	size_t at = 0;
	bool alone;

	l->entries = take(l, order_bytes(l->count), &alone);
	if (!l->entries)
		return false;
	for (struct listing_chunk *chunk = l->chunks; chunk; chunk = chunk->next)
		for (size_t used = 0; used < chunk->used;) {
			struct listing_entry *entry =
			    (struct listing_entry *)(void *)(chunk->bytes + used);
			l->entries[at++] = entry;
			used += ALIGN_UP(sizeof(*entry) + entry->len, sizeof(uint64_t));
		}
	for (size_t root = l->count / 2; root-- > 0;)
		sift(l, root, l->count);
	for (size_t end = l->count; end-- > 1;) {
		struct listing_entry *last = l->entries[end];
		l->entries[end] = l->entries[0];
		l->entries[0] = last;
		sift(l, 0, end);
	}
	return true;
}

// ---- the worker's part -------------------------------------------------------------------------------

static bool visit(void *ctx, const struct dir_entry *entry)
{
	struct listing *l = ctx;
	struct listing_entry *mine = listing_add(l, entry->name, entry->name_len);

	if (!mine)
		return false;
	mine->size = entry->number;
	mine->type = (uint8_t)entry->type;
	mine->mtime = 0;
	return !l->job.cancelled;
}

static int target_of(struct listing *l, const struct listing_entry *entry, struct inode **out)
{
	struct text t = TEXT_OF(l->scratch);

	text_bytes(&t, l->path, l->path_len);
	if (l->path_len)
		text_char(&t, '/');
	text_bytes(&t, entry->name, entry->len);
	return t.full ? -ENAMETOOLONG : name_find_wait(l->dir->volume, t.out, t.len, out);
}

static void look_at(struct listing *l, struct listing_entry *entry)
{
	struct inode *inode = NULL;
	int status = entry->type == INODE_SYMLINK ? target_of(l, entry, &inode)
						  : inode_open(l->dir->volume, entry->size, &inode);

	entry->size = 0;
	if (status) // dangling or damaged: listed all the same, opening it tells why
		return;
	entry->type = (uint8_t)inode->type;
	entry->size = inode->type == INODE_FILE ? inode->size : 0;
	entry->mtime = inode->mtime_sec;
	inode_put(inode);
}

// Writes it once for the length alone.
static void measure(struct listing *l)
{
	while (!listing_done(l)) {
		struct text t = TEXT_OF(l->scratch);
		listing_piece(l, &t, false);
		l->length += t.len;
	}
	l->place = (struct listing_place){0};
}

static void run(struct http_job *job)
{
	struct listing *l = CONTAINER_OF(job, struct listing, job);
	uint64_t cursor = 0, done = 0;
	int status = inode_read_dir(l->dir, &cursor, visit, l);

	if (status)
		l->status = status;
	for (struct listing_chunk *chunk = l->chunks; chunk && !l->status; chunk = chunk->next)
		for (size_t used = 0; used < chunk->used && !job->cancelled;) {
			struct listing_entry *entry =
			    (struct listing_entry *)(void *)(chunk->bytes + used);
			look_at(l, entry);
			used += ALIGN_UP(sizeof(*entry) + entry->len, sizeof(uint64_t));
			if (++done % YIELD_EVERY == 0)
				thread_yield();
		}
	if (!l->status && !job->cancelled && !listing_arrange(l))
		l->status = -ENOMEM;
	if (l->entries && l->count <= LISTING_MEASURED)
		measure(l);
}

static void done(struct http_job *job)
{
	struct listing *l = CONTAINER_OF(job, struct listing, job);
	struct http_exchange *x = job->x;

	if (l->status == -ENOMEM) {
		http_answer(x, 503, "There is no memory for the listing.");
	} else if (l->status) {
		http_read_errors++;
		http_answer(x, 500, "The directory cannot be read.");
	} else {
		l->handed_over = true;
		x->listing = l;
		// Without a length: chunks, or, for HTTP/1.0, the end of the connection.
		x->chunked = !l->length && x->request.minor > 0;
		x->keep_alive = x->keep_alive && (l->length || x->chunked);
		x->stage = HTTP_STAGE_SEND;
	}
}

static void drop(struct http_job *job)
{
	struct listing *l = CONTAINER_OF(job, struct listing, job);

	if (!l->handed_over)
		listing_free(l);
}

void listing_read_query(struct listing *l, const char *query, size_t len)
{
	const char *value;
	size_t n;

	if (http_query_value(query, len, "sort", &value, &n)) {
		if (n == 4 && memcmp(value, "size", 4) == 0)
			l->sort = LISTING_BY_SIZE;
		else if (n == 4 && memcmp(value, "date", 4) == 0)
			l->sort = LISTING_BY_DATE;
	}
	if (http_query_value(query, len, "order", &value, &n))
		l->descending = n == 4 && memcmp(value, "desc", 4) == 0;
}

bool listing_start(struct http_exchange *x)
{
	struct listing *l = kpages_alloc(sizeof(*l));

	if (!l)
		return false;
	l->dir = x->inode;
	inode_get(l->dir);
	l->json = x->json;
	l->path_len = x->path.len;
	memcpy(l->path, x->path_text, x->path.len);
	if (x->request.has_query)
		listing_read_query(l, x->head + x->request.query.at, x->request.query.len);
	l->job.run = run;
	l->job.done = done;
	l->job.drop = drop;
	http_job_start(&l->job, x);
	return true;
}
