// SPDX-License-Identifier: BSD-2-Clause
// Memory and string functions for kernel structures; see include/kernel/kstring.h. The C library's
// names are left out on the host, which has its own; a host test that wants to try ours compiles this
// file with the names renamed (-DSTRING_UNDER_TEST).
//
// kstring.h turns calls with a small constant length into moves. What arrives here is done by eight-byte
// moves that overlap at the end, and from STRING_BYTES on by string instructions, whose start costs.
#include "kernel/kstring.h"
#include "kernel/base.h"

#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strchr
#ifdef STRING_UNDER_TEST
#define memcpy	tested_memcpy
#define memmove tested_memmove
#define memset	tested_memset
#define memcmp	tested_memcmp
#define memchr	tested_memchr
#define strlen	tested_strlen
#define strnlen tested_strnlen
#define strcmp	tested_strcmp
#define strncmp tested_strncmp
#define strchr	tested_strchr
#define strrchr tested_strrchr
#define strstr	tested_strstr
#endif

#if !defined(PAGEWIRE_HOST) || defined(STRING_UNDER_TEST)
// Or GCC makes of a loop that copies a call to the function it is in.
#define NO_CALL_TO_ITSELF __attribute__((optimize("no-tree-loop-distribute-patterns")))
#define STRING_BYTES	  128

typedef uint64_t word64 __attribute__((aligned(1), may_alias));
typedef uint32_t word32 __attribute__((aligned(1), may_alias));
typedef uint16_t word16 __attribute__((aligned(1), may_alias));

#define W64(p, at) (*(word64 *)((uint8_t *)(p) + (at)))
#define W32(p, at) (*(word32 *)((uint8_t *)(p) + (at)))
#define W16(p, at) (*(word16 *)((uint8_t *)(p) + (at)))

// Up to 16 bytes, all read before the first is written: overlap is allowed.
static inline void move_small(uint8_t *d, const uint8_t *s, size_t len)
{
	if (len >= 8) {
		uint64_t first = W64(s, 0), last = W64(s, len - 8);

		W64(d, 0) = first;
		W64(d, len - 8) = last;
	} else if (len >= 4) {
		uint32_t first = W32(s, 0), last = W32(s, len - 4);

		W32(d, 0) = first;
		W32(d, len - 4) = last;
	} else if (len) {
		uint8_t first = s[0], middle = s[len / 2], last = s[len - 1];

		d[0] = first;
		d[len / 2] = middle;
		d[len - 1] = last;
	}
}

// 32 bytes, all read before the first is written.
static inline void move_32(uint8_t *d, const uint8_t *s)
{
	uint64_t a = W64(s, 0), b = W64(s, 8), c = W64(s, 16), e = W64(s, 24);

	W64(d, 0) = a;
	W64(d, 8) = b;
	W64(d, 16) = c;
	W64(d, 24) = e;
}

NO_CALL_TO_ITSELF void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
	uint8_t *d = to, *end = d + len;
	const uint8_t *s = from;

	if (len <= 16) {
		move_small(d, s, len);
	} else if (len <= 32) {
		uint64_t a = W64(s, 0), b = W64(s, 8), c = W64(s, len - 16), e = W64(s, len - 8);

		W64(d, 0) = a;
		W64(d, 8) = b;
		W64(end, -16) = c;
		W64(end, -8) = e;
	} else if (len < STRING_BYTES) {
		const uint8_t *last = s + len - 32;

		for (; s < last; s += 32, d += 32)
			move_32(d, s);
		move_32(end - 32, last);
	} else {
		size_t words = len / 8;

		W64(end, -8) = W64(s, len - 8);
		__asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words)::"memory");
	}
	return to;
}

void *memmove(void *to, const void *from, size_t len)
{
	if (len <= 16) {
		move_small(to, from, len);
		return to;
	}
	if ((uintptr_t)to - (uintptr_t)from >= len && (uintptr_t)from - (uintptr_t)to >= len)
		return memcpy(to, from, len);
	uint8_t *d = to;
	const uint8_t *s = from;
	size_t words = len / 8, bytes = len % 8;
	if (d <= s) {
		__asm__ volatile("rep movsq; mov %3, %%rcx; rep movsb"
				 : "+D"(d), "+S"(s), "+c"(words)
				 : "r"(bytes)
				 : "memory");
		return to;
	}
	// The destination starts inside the source: backwards, the odd bytes at the end first.
	d += len - 1;
	s += len - 1;
	__asm__ volatile(
	    "std; rep movsb; sub $7, %%rdi; sub $7, %%rsi; mov %3, %%rcx; rep movsq; cld"
	    : "+D"(d), "+S"(s), "+c"(bytes)
	    : "r"(words)
	    : "memory", "cc");
	return to;
}

NO_CALL_TO_ITSELF void *memset(void *to, int byte, size_t len)
{
	uint8_t *d = to, *end = d + len;
	uint64_t pattern = (uint8_t)byte * 0x0101010101010101UL;

	if (len < 8) {
		if (len >= 4) {
			W32(d, 0) = W32(end, -4) = (uint32_t)pattern;
		} else if (len) {
			d[0] = end[-1] = (uint8_t)byte;
			d[len / 2] = (uint8_t)byte;
		}
	} else if (len < STRING_BYTES) {
		for (; end - d >= 32; d += 32)
			W64(d, 0) = W64(d, 8) = W64(d, 16) = W64(d, 24) = pattern;
		for (; end - d > 8; d += 8)
			W64(d, 0) = pattern;
		W64(end, -8) = pattern;
	} else {
		size_t words = len / 8;

		W64(end, -8) = pattern;
		__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
	}
	return to;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;

	for (; len >= 8; x += 8, y += 8, len -= 8)
		if (W64(x, 0) != W64(y, 0))
			break;
	for (; len; x++, y++, len--)
		if (*x != *y)
			return *x - *y;
	return 0;
}

void *memchr(const void *s, int c, size_t len)
{
	for (const uint8_t *p = s; len; p++, len--)
		if (*p == (uint8_t)c)
			return (void *)p;
	return NULL;
}

// By aligned words: what is read beyond the text lies in the same page.
__attribute__((no_sanitize("address"))) size_t strlen(const char *s)
{
	const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
	const char *at = (const char *)((uintptr_t)s & ~7UL);
	uint64_t word = W64(at, 0) | (BIT((uintptr_t)s % 8 * 8) - 1), zero;

	while (!(zero = (word - ones) & ~word & high)) {
		at += 8;
		word = W64(at, 0);
	}
	return (size_t)(at - s) + (unsigned)__builtin_ctzll(zero) / 8;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t max)
{
	for (; max; a++, b++, max--)
		if (*a != *b || !*a)
			return (uint8_t)*a - (uint8_t)*b;
	return 0;
}

char *strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c)
			return (char *)s;
		if (!*s)
			return NULL;
	}
}

char *strrchr(const char *s, int c)
{
	const char *last = NULL;

	for (;; s++) {
		if (*s == (char)c)
			last = s;
		if (!*s)
			return (char *)last;
	}
}

char *strstr(const char *s, const char *sub)
{
	size_t n = strlen(sub);

	for (; *s || !n; s++)
		if (!strncmp(s, sub, n))
			return (char *)s;
	return NULL;
}
#endif

size_t kstrlcpy(char *to, const char *from, size_t size)
{
	size_t len = strlen(from);

	if (size) {
		size_t n = MIN(len, size - 1);

		memcpy(to, from, n);
		to[n] = 0;
	}
	return len;
}

static int fold(char c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : (uint8_t)c;
}

int kstrncasecmp(const char *a, const char *b, size_t max)
{
	for (; max; a++, b++, max--)
		if (fold(*a) != fold(*b) || !*a)
			return fold(*a) - fold(*b);
	return 0;
}

int kstrcasecmp(const char *a, const char *b)
{
	return kstrncasecmp(a, b, SIZE_MAX);
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)fold(c);
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return 99;
}

bool kparse_u64(const char *text, size_t len, uint64_t *value)
{
	unsigned base = 10;
	uint64_t n = 0;

	if (len > 2 && text[0] == '0' && fold(text[1]) == 'x') {
		base = 16;
		text += 2;
		len -= 2;
	}
	if (!len)
		return false;
	for (; len; text++, len--) {
		unsigned digit = (unsigned)digit_of(*text);

		if (digit >= base || __builtin_mul_overflow(n, base, &n) ||
		    __builtin_add_overflow(n, digit, &n))
			return false;
	}
	*value = n;
	return true;
}
