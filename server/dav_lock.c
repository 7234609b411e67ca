// SPDX-License-Identifier: BSD-2-Clause
// The table of locks: see dav_lock.h. A list, newest first: there are few of them, and none costs nothing.
#include "server/dav_lock.h"
#include "kernel/cpu.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/timer.h"
#include "server/dav_if.h"
#include "server/http_conn.h"
#include "server/rights.h"

static struct dav_lock *locks;
static uint64_t count, made, expired, full, hindered;
static uint64_t earliest; // no lock ends by itself before
KSTAT_GAUGE(count, "pagewire_dav_locks", "WebDAV locks held");
KSTAT_COUNTER(made, "pagewire_dav_locks_made_total", "WebDAV locks given");
KSTAT_COUNTER(expired, "pagewire_dav_locks_expired_total", "WebDAV locks that ended by time-out");
KSTAT_COUNTER(full, "pagewire_dav_locks_refused_total",
	      "WebDAV locks refused because the table was full or memory short");
KSTAT_COUNTER(hindered, "pagewire_dav_locked_total", "Requests that a WebDAV lock hindered");

static size_t lock_bytes(const struct dav_lock *lock)
{
	return sizeof(*lock) + lock->path_len;
}

static void unlink_lock(struct dav_lock **at)
{
	struct dav_lock *lock = *at;

	*at = lock->next;
	count--;
	kpages_free(lock, lock_bytes(lock));
}

static void expire(void)
{
	uint64_t now = clock_ns(), next = UINT64_MAX;

	if (!locks || now < earliest)
		return;
	for (struct dav_lock **at = &locks; *at;) {
		if ((*at)->expires <= now) {
			expired++;
			unlink_lock(at);
		} else {
			next = MIN(next, (*at)->expires);
			at = &(*at)->next;
		}
	}
	earliest = next;
}

static bool below(const char *path, size_t len, const char *top, size_t top_len)
{
	return top_len < len && (top_len == 0 || path[top_len] == '/') &&
	       memcmp(path, top, top_len) == 0;
}

static bool covers(const struct dav_lock *lock, const char *path, size_t len)
{
	if (lock->path_len == len && memcmp(lock->path, path, len) == 0)
		return true;
	return lock->infinite && below(path, len, lock->path, lock->path_len);
}

// Ends none: who goes through the locks may call it.
static struct dav_lock *covering(const char *path, size_t len, const struct dav_lock *after)
{
	for (struct dav_lock *lock = after ? after->next : locks; lock; lock = lock->next)
		if (covers(lock, path, len))
			return lock;
	return NULL;
}

struct dav_lock *dav_lock_covering(const char *path, size_t len, const struct dav_lock *after)
{
	if (!after)
		expire();
	return covering(path, len, after);
}

static bool has_token(const struct dav_lock *lock, const char *token, size_t len)
{
	return len == DAV_TOKEN_LEN && memcmp(lock->token, token, len) == 0;
}

struct dav_lock *dav_lock_find(const char *token, size_t token_len, const char *path, size_t len)
{
	expire();
	for (struct dav_lock *lock = locks; lock; lock = lock->next)
		if (has_token(lock, token, token_len) && covers(lock, path, len))
			return lock;
	return NULL;
}

bool dav_lock_mine(const struct http_exchange *x, const struct dav_lock *lock)
{
	size_t len = 0;
	const char *name = rights_user(x, &len);

	return lock->user_len == 0 ||
	       (name && len == lock->user_len && memcmp(name, lock->user, len) == 0);
}

// ---- what stands in the way --------------------------------------------------------------------------

// Which locks the request submits, wherever in its If field (section 10.4.1). It is read once: it may be long, and the
// locks that are weighed many.
static void note_submitted(const struct http_exchange *x)
{
	struct dav_if f = {0};
	enum dav_if_piece piece;

	for (struct dav_lock *lock = locks; lock; lock = lock->next)
		lock->submitted = false;
	f.text = dav_if_field(x, &f.len);
	while (f.text && (piece = dav_if_next(&f)) != DAV_IF_END && piece != DAV_IF_BAD)
		for (struct dav_lock *lock = locks; piece == DAV_IF_TOKEN && lock;
		     lock = lock->next)
			lock->submitted |=
			    has_token(lock, f.view, f.view_len) && dav_lock_mine(x, lock);
}

// Section 7: one of the locks that cover a resource has to be submitted by who holds it. Null: it was, or there is
// none; otherwise one that was not.
static const struct dav_lock *hindrance(const char *path, size_t len)
{
	const struct dav_lock *first = covering(path, len, NULL);

	for (const struct dav_lock *lock = first; lock; lock = covering(path, len, lock))
		if (lock->submitted)
			return NULL;
	return first;
}

static size_t parent_of(const char *path, size_t len)
{
	while (len && path[len - 1] != '/')
		len--;
	return len ? len - 1 : 0;
}

const struct dav_lock *dav_lock_check(struct http_exchange *x, const char *path, size_t len,
				      enum dav_scope scope)
{
	const struct dav_lock *by;

	expire();
	if (LIKELY(!locks))
		return NULL;
	note_submitted(x);
	by = hindrance(path, len);
	if (!by && scope != DAV_ITSELF && len)
		by = hindrance(path, parent_of(path, len));
	for (const struct dav_lock *lock = locks; !by && scope == DAV_TREE && lock;
	     lock = lock->next)
		if (!lock->submitted && below(lock->path, lock->path_len, path, len))
			by = hindrance(lock->path, lock->path_len);
	hindered += by != NULL;
	return by;
}

uint64_t dav_locks_made(void)
{
	return made;
}

bool dav_lock_since(uint64_t locks_made, const char *path, size_t len, enum dav_scope scope)
{
	for (const struct dav_lock *lock = locks; lock && lock->number > locks_made;
	     lock = lock->next)
		if (lock->expires > clock_ns() &&
		    (covers(lock, path, len) ||
		     (scope != DAV_ITSELF && covers(lock, path, parent_of(path, len))) ||
		     (scope == DAV_TREE && below(lock->path, lock->path_len, path, len)))) {
			hindered++;
			return true;
		}
	return false;
}

void dav_lock_gone(const char *path, size_t len)
{
	for (struct dav_lock **at = &locks; *at;) {
		struct dav_lock *lock = *at;
		if ((lock->path_len == len && memcmp(lock->path, path, len) == 0) ||
		    below(lock->path, lock->path_len, path, len))
			unlink_lock(at);
		else
			at = &lock->next;
	}
}

// ---- making and ending -------------------------------------------------------------------------------

// RFC 9562 section 5.4: a random UUID.
static void make_token(char token[DAV_TOKEN_LEN])
{
	static const char form[] = "urn:uuid:xxxxxxxx-xxxx-4xxx-Nxxx-xxxxxxxxxxxx";
	uint64_t random = 0;
	unsigned left = 0;

	_Static_assert(sizeof(form) - 1 == DAV_TOKEN_LEN, "the form of a token");
	memcpy(token, form, DAV_TOKEN_LEN);
	for (unsigned i = 9; i < DAV_TOKEN_LEN; i++) {
		if (form[i] != 'x' && form[i] != 'N')
			continue;
		if (left == 0) {
			random = cpu_random();
			left = 16;
		}
		token[i] = "0123456789abcdef"[form[i] == 'N' ? 8 | (random & 3) : random & 15];
		random >>= 4;
		left--;
	}
}

static const struct dav_lock *conflicting(const char *path, size_t len, bool shared, bool infinite)
{
	for (const struct dav_lock *lock = locks; lock; lock = lock->next)
		if ((covers(lock, path, len) ||
		     (infinite && below(lock->path, lock->path_len, path, len))) &&
		    !(shared && lock->shared))
			return lock;
	return NULL;
}

void dav_lock_refresh(struct dav_lock *lock, uint32_t timeout)
{
	lock->timeout = timeout;
	lock->expires = clock_ns() + timeout * NS_PER_SEC;
	earliest = MIN(earliest, lock->expires);
}

struct dav_lock *dav_lock_new(struct http_exchange *x, const char *path, size_t len, bool shared,
			      bool infinite, uint32_t timeout, const struct dav_lock **conflict)
{
	struct dav_lock *lock;
	size_t user_len = 0;
	const char *user = rights_user(x, &user_len);

	expire();
	*conflict = conflicting(path, len, shared, infinite);
	if (*conflict) {
		hindered++;
		return NULL;
	}
	lock = count < DAV_LOCKS_MAX ? kpages_alloc(sizeof(*lock) + len) : NULL;
	if (!lock) {
		full++;
		return NULL;
	}
	*lock = (struct dav_lock){.next = locks,
				  .shared = shared,
				  .infinite = infinite,
				  .path_len = (uint16_t)len,
				  .user_len = (uint8_t)user_len};
	memcpy(lock->path, path, len);
	if (user_len)
		memcpy(lock->user, user, user_len);
	make_token(lock->token);
	earliest = locks ? earliest : UINT64_MAX;
	locks = lock;
	dav_lock_refresh(lock, timeout);
	count++;
	lock->number = ++made;
	return lock;
}

void dav_lock_end(struct dav_lock *lock)
{
	for (struct dav_lock **at = &locks; *at; at = &(*at)->next)
		if (*at == lock) {
			unlink_lock(at);
			return;
		}
}

// RFC 4918 section 14.1.
bool dav_lock_write(const struct dav_lock *lock, struct text *t)
{
	uint64_t now = clock_ns();
	size_t start = t->len;

	text_str(t, "<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope>");
	text_str(t, lock->shared ? "<D:shared/>" : "<D:exclusive/>");
	text_str(t, "</D:lockscope><D:depth>");
	text_str(t, lock->infinite ? "infinity" : "0");
	text_str(t, "</D:depth>");
	text_bytes(t, lock->owner, lock->owner_len);
	text_str(t, "<D:timeout>Second-");
	text_u64(t, lock->expires > now ? (lock->expires - now + NS_PER_SEC - 1) / NS_PER_SEC : 0);
	text_str(t, "</D:timeout><D:locktoken><D:href>");
	text_bytes(t, lock->token, DAV_TOKEN_LEN);
	text_str(t, "</D:href></D:locktoken><D:lockroot><D:href>/");
	text_uri(t, lock->path, lock->path_len);
	text_str(t, "</D:href></D:lockroot></D:activelock>");
	if (!t->full)
		return true;
	t->len = start;
	return false;
}
