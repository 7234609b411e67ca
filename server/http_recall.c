// SPDX-License-Identifier: BSD-2-Clause
// Remembered requests: see http_recall.h.
#include "server/http_recall.h"
#include "fs/name.h"
#include "kernel/cpu.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/timer.h"
#include "net/pagebuf.h"
#include "server/http_conn.h"
#include "server/http_file.h"

#define SETS	  256
#define WAYS	  4
#define HEAD_MOST 1024 // a browser's head has 400 to 800 bytes
#define CLOSING	  "Connection: close\r\n\r\n"
#define HEAD_ROOM (HTTP_FILE_HEAD_MAX + sizeof(CLOSING))
#define SMALL                                                                                      \
	(UINT16_MAX - HEAD_ROOM) // of which the answer may be one segment, which the card cuts
#define PAGES 16		 // of a small file
_Static_assert(SMALL <= PAGES * PAGE_SIZE, "fits");

struct remembered {
	uint64_t names;	     // name_generation when the path was looked up
	struct inode *inode; // reference
	uint32_t mime;
	uint16_t len;	// of head; at least 16, as "GET / HTTP/1.1\r\n" has
	uint16_t whole; // the same; 0: the connection ends behind the answer
	uint16_t slot;
	struct http_request request; // what the log says of it
	char head[HEAD_MOST];
};

// One for each place in the table.
static struct pool pool = POOL_INIT("http_remembered", struct remembered, SETS *WAYS);
static struct remembered *table[SETS * WAYS];
static uint64_t seen[SETS]; // the hash of the last head that was not remembered
static uint8_t oldest[SETS];
static uint64_t seed, aged; // aged: name_generation at the last http_recall_age
static uint64_t recalled;
KSTAT_COUNTER(recalled, "pagewire_http_remembered_total",
	      "Requests answered without the parser: their heads were known byte for byte");
static uint64_t remembered;
KSTAT_GAUGE(remembered, "pagewire_http_remembered_heads", "Request heads that are remembered");

static inline uint64_t word_at(const char *p)
{
	uint64_t word;

	__builtin_memcpy(&word, p, sizeof(word));
	return word;
}

static inline uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

// Of the first line; 0: no line ends here. A head that is remembered has eight bytes more than its line.
static uint64_t hash_of(const char *bytes, size_t len)
{
	const uint64_t ones = 0x0101010101010101UL;
	uint64_t hash = seed;

	for (size_t at = 0; at + 8 <= len && at < HEAD_MOST; at += 8) {
		uint64_t word = word_at(bytes + at), v = word ^ ones * '\r';
		uint64_t ends = (v - ones) & ~v & ones * 0x80;
		if (ends)
			return mix(hash ^ (word & ((ends & -ends) - 1)), seed + at) | 1;
		hash = mix(hash ^ word, seed);
	}
	return 0;
}

// Sixteen bytes at a time; what is left over overlaps them.
static inline bool same(const struct remembered *r, const char *bytes, size_t len)
{
	const char *head = r->head, *last = head + r->len - 16;

	if (len < r->len)
		return false;
	for (; head < last; head += 16, bytes += 16)
		if ((word_at(head) ^ word_at(bytes)) | (word_at(head + 8) ^ word_at(bytes + 8)))
			return false;
	bytes += last - head;
	return !((word_at(last) ^ word_at(bytes)) | (word_at(last + 8) ^ word_at(bytes + 8)));
}

static void forget(struct remembered *r)
{
	table[r->slot] = NULL;
	remembered--;
	inode_put(r->inode);
	pool_free(&pool, r);
}

void http_recall_forget(void)
{
	for (unsigned i = 0; remembered && i < SETS * WAYS; i++)
		if (table[i])
			forget(table[i]);
	memset(seen, 0, sizeof(seen));
}

void http_recall_age(void)
{
	if (aged != name_generation())
		http_recall_forget();
	aged = name_generation();
}

void http_recall_start(void)
{
	seed = cpu_random() | 1;
	http_recall_forget();
	aged = name_generation();
}

static struct remembered *find(struct http_conn *conn, const char *bytes, size_t len)
{
	struct remembered *r = table[conn->recall];
	uint64_t hash;

	if (LIKELY(r && same(r, bytes, len)))
		return r;
	hash = hash_of(bytes, len);
	for (unsigned i = 0; hash && i < WAYS; i++) {
		unsigned slot = hash % SETS * WAYS + i;
		r = table[slot];
		if (r && same(r, bytes, len)) {
			conn->recall = (uint16_t)slot;
			return r;
		}
	}
	return NULL;
}

static bool whole_file(const struct http_exchange *x)
{
	const struct http_request *r = &x->request;

	return x->status == 200 && x->body == HTTP_BODY_FILE && !x->recalled &&
	       x->keep_alive == r->keep_alive &&	       // as it was asked for
	       x->who.state == WHO_UNASKED && !r->dav_if.at && // what anybody may read
	       r->method == HTTP_GET && r->minor && !r->content_length && !r->chunked &&
	       !r->range.at && !r->if_range.at && !r->if_modified_since.at &&
	       !r->if_unmodified_since.at && !r->has_if_match && !r->has_if_none_match &&
	       x->parser.pos <= HEAD_MOST && x->names == name_generation();
}

void http_remember(const struct http_exchange *x)
{
	struct remembered *r;
	uint64_t hash;
	unsigned set, slot;

	if (!whole_file(x) || !(hash = hash_of(x->head, x->parser.pos)))
		return;
	set = hash % SETS;
	for (unsigned i = 0; i < WAYS;
	     i++) // it came in pieces, or there was no memory for an exchange
		if (table[set * WAYS + i] && same(table[set * WAYS + i], x->head, x->parser.pos))
			return;
	if (seen[set] != hash) { // once is no habit
		seen[set] = hash;
		return;
	}
	slot = set * WAYS + oldest[set];
	if (table[slot])
		forget(table[slot]);
	r = pool_alloc(&pool);
	if (!r)
		return;
	oldest[set] = (uint8_t)((oldest[set] + 1U) % WAYS);
	inode_get(x->inode);
	r->names = x->names;
	r->inode = x->inode;
	r->mime = x->mime;
	r->len = x->parser.pos;
	r->whole = x->keep_alive ? r->len : 0;
	r->slot = (uint16_t)slot;
	r->request = x->request;
	memcpy(r->head, x->head, r->len);
	table[slot] = r;
	remembered++;
}

static __attribute__((noinline)) bool find_more_pages(struct inode *inode, unsigned count,
						      struct page **pages)
{
	for (unsigned i = 1; i < count; i++) {
		pages[i] = pagecache_probe(inode, i);
		if (UNLIKELY(!pages[i])) {
			while (i--)
				page_wire_put(pages[i]);
			return false;
		}
	}
	return true;
}

// All or none, wired; at least one.
static inline bool find_pages(struct inode *inode, unsigned count, struct page **pages)
{
	pages[0] = pagecache_probe(inode, 0);
	return LIKELY(pages[0]) && (count == 1 || find_more_pages(inode, count, pages));
}

// The request becomes an exchange that has got as far as its answer, all but the parser's work. Null: no memory.
static struct http_exchange *begin_exchange(struct http_conn *conn, const struct remembered *r,
					    const char *bytes, uint64_t started)
{
	struct http_exchange *x = http_exchange_new(conn);

	if (!x)
		return NULL;
	x->recalled = true;
	x->head = bytes;
	x->parser.pos = r->len;
	x->request = r->request;
	x->parsed = true;
	x->keep_alive = r->whole > 0;
	x->started = started;
	inode_get(r->inode);
	x->inode = r->inode;
	x->mime = r->mime;
	http_decide_content(x);
	conn->x = x;
	recalled++;
	return x;
}

// Memory ran out between the head and the last page: the rest is an exchange's, one that has got as far as its answer's
// byte `sent`.
static void go_on(struct http_conn *conn, const struct remembered *r, const char *bytes,
		  uint64_t started, uint64_t sent)
{
	struct http_exchange *x = begin_exchange(conn, r, bytes, started);

	if (!x) {
		http_count_refusal(HTTP_REFUSED_MEMORY);
		http_conn_doom(conn);
		return;
	}
	x->head_queued = true;
	x->at = x->sent = sent;
	x->stage = HTTP_STAGE_SEND;
}

static __attribute__((noinline)) const struct http_file *head_anew(const struct remembered *r)
{
	struct http_file *file = http_file_of(r->inode, r->mime);
	uint16_t len;

	http_file_head(file, &len);
	return file;
}

// The head of the answer, with the date of now.
static inline const struct http_file *head_of(const struct remembered *r, uint64_t now)
{
	const struct http_file *file = r->inode->server_data;

	if (UNLIKELY(!file || file->type != r->mime || file->head_second != http_now_at(now)))
		return head_anew(r);
	return file;
}

// The same where the connection ends behind it: one field more (RFC 9112 section 9.6).
static uint16_t closing_head(const struct http_file *file, char *out)
{
	size_t len = file->answer.len - 2U; // all but the empty line

	memcpy(out, file->head, len);
	memcpy(out + len, CLOSING, sizeof(CLOSING) - 1);
	return (uint16_t)(len + sizeof(CLOSING) - 1);
}

static inline unsigned pages_of(const struct remembered *r)
{
	return (unsigned)((r->inode->size + PAGE_SIZE - 1) / PAGE_SIZE);
}

static inline bool wire_pages(const struct remembered *r, struct page **pages)
{
	return !r->inode->size ||
	       (http_pages_allowed() && find_pages(r->inode, pages_of(r), pages));
}

// Whether the answer is small and there is room for it; its pages are wired.
static inline bool ready(struct http_conn *conn, const struct remembered *r, struct page **pages)
{
	uint64_t size = r->inode->size;

	return size <= SMALL && tcp_sndbuf(conn->pcb) >= size + HEAD_ROOM && wire_pages(r, pages);
}

static inline void queued(struct http_conn *conn, uint64_t bytes)
{
	conn->unacked += (uint32_t)bytes;
	http_bytes_sent += bytes;
}

// All of it in one segment. False: nothing is queued.
static bool send_at_once(struct http_conn *conn, const struct remembered *r, const char *head,
			 uint16_t head_len, struct page **pages)
{
	uint64_t size = r->inode->size;

	if (UNLIKELY(!answer_write(conn->pcb, head, head_len, pages, (uint16_t)size)))
		return false;
	queued(conn, head_len + size);
	return true;
}

// Head and pages one after the other, as far as memory allows. Returns the bytes that are queued.
static uint64_t send_in_parts(struct http_conn *conn, const struct remembered *r, const char *head,
			      uint16_t head_len, struct page **pages)
{
	unsigned count = pages_of(r), i = 0;
	uint64_t sent = 0, size = r->inode->size;

	if (genbuf_write(conn->pcb, head, head_len, count > 0) == ERR_OK) {
		sent = head_len;
		for (; i < count; i++) {
			uint16_t n = (uint16_t)MIN(size - i * PAGE_SIZE, PAGE_SIZE);
			if (pagebuf_give(conn->pcb, pages[i], 0, n, i + 1 < count) != ERR_OK)
				break;
			sent += n;
		}
	}
	for (; i < count; i++)
		page_wire_put(pages[i]);
	queued(conn, sent);
	return sent;
}

static inline void count(struct http_conn *conn, const struct remembered *r, uint64_t started)
{
	recalled++;
	http_count_recalled(conn, r->head, &r->request, r->inode->size, started);
}

// Queues the answer, or as much of it as memory allows: of its head and body, how much that is; 0: nothing.
static uint64_t answer(struct http_conn *conn, const struct remembered *r, uint64_t started,
		       struct page **pages, uint16_t *head_len)
{
	const struct http_file *file = head_of(r, started);
	const char *head = file->head;
	char closing[HEAD_ROOM];

	*head_len = file->answer.len;
	if (!r->whole) {
		*head_len = closing_head(file, closing);
		head = closing;
	}
	if (send_at_once(conn, r, head, *head_len, pages))
		return *head_len + r->inode->size;
	return send_in_parts(conn, r, head, *head_len, pages);
}

size_t http_recall(struct http_conn *conn, const char *bytes, size_t len)
{
	struct remembered *r = find(conn, bytes, len);
	struct page *pages[PAGES];
	uint64_t started, sent;
	uint16_t head_len;

	if (!r)
		return 0;
	if (UNLIKELY(r->names != name_generation())) {
		forget(r);
		return 0;
	}
	started = clock_cycles();
	if (!ready(conn, r, pages))
		return begin_exchange(conn, r, bytes, started) ? r->len : 0;
	sent = answer(conn, r, started, pages, &head_len);
	if (!sent)
		return 0;
	if (UNLIKELY(sent < head_len + r->inode->size)) {
		go_on(conn, r, bytes, started, sent - head_len);
		return r->len;
	}
	count(conn, r, started);
	if (!r->whole)
		http_conn_linger(conn);
	return r->len;
}

// The whole file is a page, and its answer leaves at once.
static inline bool leave(struct http_conn *conn, const struct remembered *r,
			 const struct http_file *file, uint64_t size)
{
	struct page *page;

	if (size - 1 >= PAGE_SIZE || !answer_now_may(conn->pcb) || !http_pages_allowed())
		return false;
	page = pagecache_first(r->inode);
	if (UNLIKELY(!page))
		return false;
	if (LIKELY(answer_now(conn->pcb, &file->answer, page, (uint16_t)size)))
		return true;
	page_wire_put(page);
	return false;
}

static __attribute__((noinline)) bool queue(struct http_conn *conn, const struct remembered *r,
					    const struct http_file *file, uint64_t size)
{
	struct page *pages[PAGES];

	if (size > SMALL || !answer_fits(conn->pcb, file->answer.len, (uint16_t)size) ||
	    !wire_pages(r, pages))
		return false;
	if (LIKELY(answer_queue(conn->pcb, &file->answer, pages, (uint16_t)size)))
		return true;
	for (unsigned i = pages_of(r); i--;)
		page_wire_put(pages[i]);
	return false;
}

ONE_CALLER bool http_recall_all(struct http_conn *conn, const char *bytes, size_t len)
{
	const struct remembered *r = find(conn, bytes, len);
	const struct http_file *file;
	uint64_t started, size;

	if (!r || r->whole != len || r->names != name_generation())
		return false;
	started = clock_cycles();
	size = r->inode->size;
	file = head_of(r, started);
	if (!leave(conn, r, file, size) && !queue(conn, r, file, size))
		return false;
	queued(conn, file->answer.len + size);
	count(conn, r, started);
	http_conn_settle_between(conn, started);
	return true;
}
