// SPDX-License-Identifier: BSD-2-Clause
// HTTP Digest: see auth_digest.h.
#include "server/auth_digest.h"
#include "bearssl_hash.h"
#include "blake2.h"
#include "kernel/cpu.h"
#include "kernel/kstring.h"
#include "kernel/timer.h"
#include "server/http_conn.h"
#include "server/users.h"

#define NONCES	  256
#define NONCE_MAC 16
#define NONCE_LEN (2 * (16 + NONCE_MAC)) // hex of time, serial, MAC
#define WINDOW	  64

// The bytes of a nonce.
struct nonce {
	uint64_t made, serial; // clock_ns; unique
	uint8_t mac[NONCE_MAC];
};
_Static_assert(sizeof(struct nonce) * 2 == NONCE_LEN, "no padding");

struct used_nonce {
	uint64_t made, serial;
	uint64_t seen; // bit n: count top - n was there
	uint32_t top;  // 0: free
};
static struct used_nonce used[NONCES];
static bool noted;	  // there is something in it
static uint64_t floor_ns; // nonces made until then are stale: their counts may have been forgotten
static uint64_t serial;
static uint8_t key[32];

enum parameter {
	P_USER,
	P_REALM,
	P_NONCE,
	P_URI,
	P_RESPONSE,
	P_ALGORITHM,
	P_QOP,
	P_NC,
	P_CNONCE,
	P_COUNT
};
static const char *const names[P_COUNT] = {"username",	"realm", "nonce", "uri",   "response",
					   "algorithm", "qop",	 "nc",	  "cnonce"};
struct parameters {
	const char *text[P_COUNT];
	size_t len[P_COUNT];
};

// ---- hashes ------------------------------------------------------------------------------------------

struct hash {
	bool md5;
	union {
		br_md5_context md5;
		br_sha256_context sha256;
	} ctx;
};

static void hash_add(struct hash *h, const void *bytes, size_t len)
{
	if (h->md5)
		br_md5_update(&h->ctx.md5, bytes, len);
	else
		br_sha256_update(&h->ctx.sha256, bytes, len);
}

static void hash_begin(struct hash *h, bool md5)
{
	h->md5 = md5;
	if (md5)
		br_md5_init(&h->ctx.md5);
	else
		br_sha256_init(&h->ctx.sha256);
}

static void to_hex(const uint8_t *bytes, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++) {
		out[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
	}
}

// Hexadecimal, as long as hash_len says.
static void hash_end(struct hash *h, char out[USERS_SHA256_HEX])
{
	uint8_t bytes[br_sha256_SIZE];

	if (h->md5)
		br_md5_out(&h->ctx.md5, bytes);
	else
		br_sha256_out(&h->ctx.sha256, bytes);
	to_hex(bytes, h->md5 ? br_md5_SIZE : br_sha256_SIZE, out);
}

static size_t hash_len(bool md5)
{
	return md5 ? USERS_MD5_HEX : USERS_SHA256_HEX;
}

void digest_secret(bool md5, const char *user, size_t user_len, const char *password, size_t len,
		   char out[DIGEST_SECRET_MAX])
{
	struct hash h;

	hash_begin(&h, md5);
	hash_add(&h, user, user_len);
	hash_add(&h, ":" AUTH_REALM ":", sizeof(AUTH_REALM) + 1);
	hash_add(&h, password, len);
	hash_end(&h, out);
	out[hash_len(md5)] = 0;
	memset(&h, 0, sizeof(h));
}

// ---- nonces ------------------------------------------------------------------------------------------

void digest_start(void)
{
	for (unsigned i = 0; i < sizeof(key); i += 8) {
		uint64_t word = cpu_random();
		memcpy(key + i, &word, 8);
	}
}

void digest_forget(void)
{
	if (noted)
		memset(used, 0, sizeof(used));
	noted = false;
	floor_ns = clock_ns();
}

static void nonce_sign(struct nonce *n)
{
	blake2b(n->mac, NONCE_MAC, n, offsetof(struct nonce, mac), key, sizeof(key));
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// False: not one of ours.
static bool nonce_read(const char *text, size_t len, struct nonce *out)
{
	uint8_t *bytes = (uint8_t *)out, differ = 0;
	struct nonce ours;

	if (len != NONCE_LEN)
		return false;
	for (size_t i = 0; i < len; i++) {
		int digit = hex_digit(text[i]);
		if (digit < 0)
			return false;
		bytes[i / 2] = (uint8_t)(i % 2 ? bytes[i / 2] | digit : digit << 4);
	}
	ours = *out;
	nonce_sign(&ours);
	for (size_t i = 0; i < NONCE_MAC; i++)
		differ |= (uint8_t)(ours.mac[i] ^ out->mac[i]);
	return differ == 0;
}

static struct used_nonce *nonce_place(const struct nonce *n)
{
	struct used_nonce *oldest = used;

	for (unsigned i = 0; i < NONCES; i++) {
		if (used[i].top && used[i].serial == n->serial && used[i].made == n->made)
			return &used[i];
		if (!used[i].top || (oldest->top && used[i].made < oldest->made))
			oldest = &used[i];
	}
	if (oldest->top)
		floor_ns = MAX(floor_ns, oldest->made);
	noted = true;
	*oldest = (struct used_nonce){.made = n->made, .serial = n->serial};
	return oldest;
}

// Whether that count of the nonce was not there before. Notes it.
static bool nonce_count(const struct nonce *n, uint32_t count)
{
	struct used_nonce *u = nonce_place(n);

	if (count > u->top) {
		uint32_t shift = count - u->top;
		u->seen = shift < WINDOW && u->top ? u->seen << shift | 1 : 1;
		u->top = count;
		return true;
	}
	if (u->top - count >= WINDOW || u->seen & BIT(u->top - count))
		return false;
	u->seen |= BIT(u->top - count);
	return true;
}

static bool nonce_stale(const struct nonce *n)
{
	return n->made <= floor_ns || clock_ns() - n->made > DIGEST_NONCE_NS;
}

static void challenge(const char *algorithm, bool stale, struct text *t)
{
	struct nonce n = {.made = clock_ns(), .serial = ++serial};
	char hex[NONCE_LEN];

	nonce_sign(&n);
	to_hex((const uint8_t *)&n, sizeof(n), hex);
	text_str(t, "WWW-Authenticate: Digest realm=\"" AUTH_REALM "\", qop=\"auth\", algorithm=");
	text_str(t, algorithm);
	text_str(t, ", nonce=\"");
	text_bytes(t, hex, sizeof(hex));
	text_str(t, stale ? "\", stale=true, charset=UTF-8\r\n" : "\", charset=UTF-8\r\n");
}

void digest_challenge(const struct users *users, bool stale, struct text *t)
{
	if (users->any_sha256)
		challenge("SHA-256", stale, t);
	if (users->any_md5)
		challenge("MD5", stale, t);
}

// ---- credentials -------------------------------------------------------------------------------------

// One "name=value" or "name="value"". False: none, or one with escapes in it.
static bool read_parameter(const char *item, size_t len, struct parameters *p)
{
	const char *equals = memchr(item, '=', len), *value;
	size_t name_len, n;

	if (!equals)
		return false;
	value = equals + 1;
	name_len = (size_t)(equals - item);
	n = len - name_len - 1;
	if (n && value[0] == '"') {
		if (n < 2 || value[n - 1] != '"' || memchr(value, '\\', n))
			return false;
		value++;
		n -= 2;
	}
	for (unsigned i = 0; i < P_COUNT; i++)
		if (strlen(names[i]) == name_len && kstrncasecmp(item, names[i], name_len) == 0) {
			if (p->text[i])
				return false;
			p->text[i] = value;
			p->len[i] = n;
		}
	return true;
}

static bool read_all(const char *text, size_t len, struct parameters *p)
{
	const char *item;
	size_t at = 0, n;

	while (http_list_next(text, len, &at, &item, &n))
		if (!read_parameter(item, n, p))
			return false;
	for (unsigned i = 0; i < P_COUNT; i++)
		if (!p->text[i] && i != P_ALGORITHM)
			return false;
	return true;
}

static bool says(const struct parameters *p, enum parameter n, const char *word)
{
	return p->len[n] == strlen(word) && kstrncasecmp(p->text[n], word, p->len[n]) == 0;
}

// RFC 7616 section 3.4.6: what the client signed must be what it asks for.
static bool uri_is_ours(const struct http_exchange *x, const struct parameters *p)
{
	const struct http_request *r = &x->request;
	uint16_t end = r->has_query ? r->query.at + r->query.len : r->path.at + r->path.len;

	return (p->len[P_URI] == r->target.len &&
		memcmp(p->text[P_URI], x->head + r->target.at, r->target.len) == 0) ||
	       (p->len[P_URI] == (size_t)(end - r->path.at) &&
		memcmp(p->text[P_URI], x->head + r->path.at, p->len[P_URI]) == 0);
}

static bool response_right(const struct http_exchange *x, const struct parameters *p, bool md5,
			   const char *secret)
{
	static const enum parameter parts[] = {P_NONCE, P_NC, P_CNONCE, P_QOP};
	const struct http_view *method = &x->request.method_name;
	char request[USERS_SHA256_HEX], wanted[USERS_SHA256_HEX];
	size_t len = hash_len(md5);
	unsigned differ = 0;
	struct hash h;

	hash_begin(&h, md5);
	hash_add(&h, x->head + method->at, method->len);
	hash_add(&h, ":", 1);
	hash_add(&h, p->text[P_URI], p->len[P_URI]);
	hash_end(&h, request);
	hash_begin(&h, md5);
	hash_add(&h, secret, len);
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		hash_add(&h, ":", 1);
		hash_add(&h, p->text[parts[i]], p->len[parts[i]]);
	}
	hash_add(&h, ":", 1);
	hash_add(&h, request, len);
	hash_end(&h, wanted);
	if (p->len[P_RESPONSE] != len)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = p->text[P_RESPONSE][i];
		differ |= (unsigned)((c >= 'A' && c <= 'F' ? c | 0x20 : c) ^ wanted[i]);
	}
	return differ == 0;
}

static bool read_count(const struct parameters *p, uint32_t *count)
{
	*count = 0;
	if (p->len[P_NC] != 8)
		return false;
	for (unsigned i = 0; i < 8; i++) {
		char c = p->text[P_NC][i];
		int digit = hex_digit(c >= 'A' && c <= 'F' ? c | 0x20 : c);
		if (digit < 0)
			return false;
		*count = *count << 4 | (uint32_t)digit;
	}
	return *count > 0;
}

static enum auth_result wrong(const struct auth_source *source)
{
	auth_failed(source);
	return AUTH_WRONG;
}

enum auth_result digest_ask(struct http_exchange *x, const struct users *users, const char *text,
			    size_t len, struct auth_source *source,
			    const struct siphash_key *name_key)
{
	struct parameters p = {0};
	const char *secret = NULL;
	struct nonce nonce;
	uint32_t count;
	int user;

	if (!read_all(text, len, &p) || !says(&p, P_QOP, "auth") || !read_count(&p, &count) ||
	    !uri_is_ours(x, &p) || !says(&p, P_REALM, AUTH_REALM))
		return AUTH_WRONG;
	bool md5 = !p.text[P_ALGORITHM] || says(&p, P_ALGORITHM, "MD5");
	if (!md5 && !says(&p, P_ALGORITHM, "SHA-256"))
		return AUTH_WRONG;
	source->user = siphash(name_key, p.text[P_USER], p.len[P_USER]);
	user = users_find(users, p.text[P_USER], p.len[P_USER]);
	if (user >= 0 && !users->users[user].off)
		secret = md5 ? users->users[user].md5 : users->users[user].sha256;
	if (!secret) {
		x->who.basic = true;
		return AUTH_WRONG;
	}
	if (auth_delayed(source))
		return AUTH_TOO_MANY;
	if (!nonce_read(p.text[P_NONCE], p.len[P_NONCE], &nonce)) {
		x->who.stale = true; // of before a restart
		return AUTH_WRONG;
	}
	if (!response_right(x, &p, md5, secret))
		return wrong(source);
	// The secret was right; a count that was there is somebody's who listens, or a client's that repeats itself.
	if (nonce_stale(&nonce) || !nonce_count(&nonce, count)) {
		x->who.stale = true;
		return AUTH_WRONG;
	}
	auth_succeeded(source);
	x->who.user = (int16_t)user;
	return AUTH_KNOWN;
}
