// SPDX-License-Identifier: BSD-2-Clause
// Credentials of a request: see auth.h. This file has Basic and what was verified; Digest is
// auth_digest.c's. Fast WTD context.
#include "server/auth.h"
#include "blake2.h"
#include "kernel/cpu.h"
#include "kernel/kstring.h"
#include "kernel/siphash.h"
#include "kernel/timer.h"
#include "server/auth_digest.h"
#include "server/http_conn.h"
#include "server/verify.h"

#define SETS	    64
#define WAYS	    4
#define REMEMBER_NS (600 * NS_PER_SEC) // since the last use

struct verified {
	uint8_t tag[VERIFY_TAG];
	uint64_t used; // clock_ns; 0: free
	int16_t user;
};
static struct verified table_of[SETS][WAYS];
static uint8_t key[32]; // of the tags
static struct siphash_key name_key;
static uint32_t current; // the table that counts
static bool learnt;	 // there is something in table_of

// What stands in for the hash of a user that is not there, so that the time does not tell: of a random
// password that nobody kept.
static const char nobody[] = "$argon2id$v=19$m=8192,t=3,p=1$UGFnZXdpcmVOb2JvZHkhIQ$"
			     "DDI/lboehtn7LWoJnKOYdvEXLqgLApuMA3v9qhaFSlQ";

void auth_start(void)
{
	for (unsigned i = 0; i < sizeof(key); i += 8) {
		uint64_t word = cpu_random();
		memcpy(key + i, &word, 8);
	}
	name_key = (struct siphash_key){cpu_random(), cpu_random()};
	digest_start();
	verify_start_thread();
}

void auth_forget(uint32_t table)
{
	if (learnt)
		memset(table_of, 0, sizeof(table_of));
	learnt = false;
	digest_forget();
	current = table;
}

// ---- what was verified -------------------------------------------------------------------------------

static struct verified *find(const uint8_t tag[VERIFY_TAG], bool make)
{
	struct verified *set = table_of[tag[0] % SETS], *oldest = set;
	uint64_t now = clock_ns();

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].used && now - set[i].used > REMEMBER_NS)
			set[i].used = 0;
		if (set[i].used && memcmp(set[i].tag, tag, VERIFY_TAG) == 0)
			return &set[i];
		if (set[i].used < oldest->used)
			oldest = &set[i];
	}
	return make ? oldest : NULL;
}

bool auth_knows(const struct verify_request *request)
{
	return request->table == current && find(request->tag, false);
}

void auth_learn(const struct verify_request *r, int result)
{
	if (result == -EACCES)
		auth_failed(&r->source);
	if (result != 0 || r->user < 0)
		return;
	auth_succeeded(&r->source);
	if (r->table != current)
		return;
	struct verified *v = find(r->tag, true);
	memcpy(v->tag, r->tag, VERIFY_TAG);
	v->user = r->user;
	v->used = clock_ns();
	learnt = true;
}

void auth_verified(struct http_exchange *x, const struct verify_request *r, int result)
{
	x->who.table = r->table;
	x->who.state = result == 0 && r->user >= 0 ? WHO_KNOWN : WHO_NOBODY;
	x->who.answer =
	    result == 0 || result == -EACCES || result == -EINVAL ? AUTH_WRONG : AUTH_BUSY;
	x->who.user = r->user;
}

// ---- Basic (RFC 7617) --------------------------------------------------------------------------------

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// RFC 4648 section 4, canonical. The length, or -1.
static int base64(const char *text, size_t len, char *out, size_t size)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0;

	if (len == 0 || len % 4)
		return -1;
	for (unsigned i = 0; i < 2 && text[len - 1] == '='; i++)
		len--;
	for (size_t i = 0; i < len; i++) {
		int digit = base64_digit(text[i]);
		if (digit < 0)
			return -1;
		bits = bits << 6 | (uint32_t)digit;
		have += 6;
		if (have >= 8) {
			have -= 8;
			if (n == size)
				return -1;
			out[n++] = (char)(bits >> have);
			bits &= (1U << have) - 1;
		}
	}
	return bits ? -1 : (int)n;
}

static void source_of(const struct http_exchange *x, const char *name, size_t len,
		      struct auth_source *source)
{
	source->user = siphash(&name_key, name, len);
	memcpy(source->address, x->conn->from->key, sizeof(source->address));
}

static void tag_of(const char *pair, size_t len, uint8_t tag[VERIFY_TAG])
{
	blake2b(tag, VERIFY_TAG, pair, len, key, sizeof(key));
}

static enum auth_result verify(struct http_exchange *x, const struct users *users, int user,
			       const char *password, size_t len, struct verify_request *r)
{
	const struct user *u = user >= 0 && !users->users[user].off ? &users->users[user] : NULL;

	r->user = u ? (int16_t)user : USER_UNKNOWN;
	r->table = current;
	r->hash_len = u ? u->hash_len : sizeof(nobody) - 1;
	memcpy(r->hash, u ? u->hash : nobody, r->hash_len);
	memcpy(r->password, password, len);
	r->len = len;
	if (auth_delayed(&r->source))
		return AUTH_TOO_MANY;
	return verify_start(x, r) ? AUTH_LATER : AUTH_BUSY;
}

static enum auth_result basic(struct http_exchange *x, const struct users *users, const char *text,
			      size_t len)
{
	static struct verify_request r; // one at a time: fast WTDs
	char pair[USERS_NAME_MAX + 1 + PASSWORD_MAX];
	int n = base64(text, len, pair, sizeof(pair));
	const char *colon = n > 0 ? memchr(pair, ':', (size_t)n) : NULL;
	size_t name_len = colon ? (size_t)(colon - pair) : 0;
	enum auth_result result;
	struct verified *v;

	if (!colon || !users_name_ok(pair, name_len) || (size_t)n - name_len - 1 > PASSWORD_MAX)
		return AUTH_WRONG;
	tag_of(pair, (size_t)n, r.tag);
	v = find(r.tag, false);
	if (v) {
		v->used = clock_ns();
		x->who.user = v->user;
		result = AUTH_KNOWN;
	} else {
		source_of(x, pair, name_len, &r.source);
		result = verify(x, users, users_find(users, pair, name_len), colon + 1,
				(size_t)n - name_len - 1, &r);
	}
	memset(pair, 0, sizeof(pair));
	memset(&r, 0, sizeof(r));
	return result;
}

// ---- the field ---------------------------------------------------------------------------------------

// The credentials of a scheme: null, or what stands behind its name.
static const char *scheme(const char *text, size_t len, const char *name, size_t *rest)
{
	size_t n = strlen(name);

	if (len <= n || kstrncasecmp(text, name, n) != 0 || text[n] != ' ')
		return NULL;
	while (n < len && text[n] == ' ')
		n++;
	*rest = len - n;
	return text + n;
}

static enum auth_result look(struct http_exchange *x, const struct users *users)
{
	struct http_view field, second;
	uint16_t cursor = 0;
	const char *text;
	size_t len;

	if (!http_header_next(x->head, &x->request, "authorization", &cursor, &field))
		return AUTH_NONE;
	if (http_header_next(x->head, &x->request, "authorization", &cursor, &second))
		return AUTH_WRONG;
	if ((text = scheme(x->head + field.at, field.len, "Basic", &len)))
		return basic(x, users, text, len);
	if ((text = scheme(x->head + field.at, field.len, "Digest", &len))) {
		struct auth_source source;
		source_of(x, "", 0, &source);
		return digest_ask(x, users, text, len, &source, &name_key);
	}
	return AUTH_NONE;
}

enum auth_result auth_ask(struct http_exchange *x, const struct users *users, uint32_t table)
{
	enum auth_result result;

	if (x->who.state == WHO_NOBODY && x->who.table == table)
		return (enum auth_result)x->who.answer;
	x->who = (struct rights_who){.table = table};
	result = look(x, users);
	if (result == AUTH_KNOWN)
		x->who.state = WHO_KNOWN;
	else if (result != AUTH_LATER)
		x->who.state = WHO_NOBODY;
	x->who.answer = (uint8_t)result;
	return result;
}

void auth_challenge(const struct http_exchange *x, const struct users *users, struct text *t)
{
	if (users && !x->who.basic)
		digest_challenge(users, x->who.stale, t);
	text_str(t, "WWW-Authenticate: Basic realm=\"" AUTH_REALM "\", charset=\"UTF-8\"\r\n");
}
