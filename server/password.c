// SPDX-License-Identifier: BSD-2-Clause
// Argon2id around its authors' reference code: see password.h. Thread context.
#include "server/password.h"
#include "argon2.h"
#include "encoding.h"
#include "kernel/kstring.h"
#include "kernel/vmm.h"
#include "server/users.h"

#define SALT_MAX 48
#define HASH_MAX 64
#define HASH_LEN 32
#define SALT_LEN 16

#ifdef PAGEWIRE_HOST_PROGRAM
#include <stdlib.h>
static int take(uint8_t **memory, size_t bytes)
{
	*memory = malloc(bytes);
	return *memory ? ARGON2_OK : ARGON2_MEMORY_ALLOCATION_ERROR;
}
static void give_back(uint8_t *memory, size_t bytes)
{
	free(memory);
}
#else
// Frames from wherever they are free, in one stretch of addresses.
static int take(uint8_t **memory, size_t bytes)
{
	*memory = vmm_stack_alloc(bytes);
	return *memory ? ARGON2_OK : ARGON2_MEMORY_ALLOCATION_ERROR;
}
static void give_back(uint8_t *memory, size_t bytes)
{
	vmm_stack_free(memory, bytes);
}
#endif

static int error_of(int code)
{
	return code == ARGON2_OK ? 0 : code == ARGON2_MEMORY_ALLOCATION_ERROR ? -ENOMEM : -EINVAL;
}

int password_verify(const char *hash, size_t hash_len, const char *password, size_t len)
{
	char text[USERS_HASH_MAX + 1];
	uint8_t salt[SALT_MAX], wanted[HASH_MAX], made[HASH_MAX];
	argon2_context ctx = {.salt = salt,
			      .saltlen = sizeof(salt),
			      .out = wanted,
			      .outlen = sizeof(wanted),
			      .pwd = (uint8_t *)(uintptr_t)password,
			      .pwdlen = (uint32_t)len};
	unsigned differ = 0;
	int code;

	if (hash_len > USERS_HASH_MAX || len > PASSWORD_MAX)
		return -EINVAL;
	memcpy(text, hash, hash_len);
	text[hash_len] = 0;
	if (decode_string(&ctx, text, Argon2_id) != ARGON2_OK || ctx.m_cost > PASSWORD_MEMORY_MAX ||
	    ctx.t_cost > PASSWORD_PASSES_MAX || ctx.lanes > 4 || ctx.outlen < 16)
		return -EINVAL;
	ctx.out = made;
	ctx.threads = 1;
	ctx.allocate_cbk = take; // decode_string has cleared them
	ctx.free_cbk = give_back;
	code = argon2_ctx(&ctx, Argon2_id);
	if (code != ARGON2_OK)
		return error_of(code);
	for (uint32_t i = 0; i < ctx.outlen; i++) // in constant time
		differ |= (unsigned)(made[i] ^ wanted[i]);
	return differ ? -EACCES : 0;
}

int password_hash(const char *password, size_t len, const uint8_t salt[16], char *out, size_t size)
{
	uint8_t made[HASH_LEN], salted[SALT_LEN];
	argon2_context ctx = {.out = made,
			      .outlen = HASH_LEN,
			      .pwd = (uint8_t *)(uintptr_t)password,
			      .pwdlen = (uint32_t)len,
			      .salt = salted,
			      .saltlen = SALT_LEN,
			      .t_cost = PASSWORD_PASSES,
			      .m_cost = PASSWORD_MEMORY,
			      .lanes = 1,
			      .threads = 1,
			      .version = ARGON2_VERSION_NUMBER,
			      .allocate_cbk = take,
			      .free_cbk = give_back};
	int code;

	if (len == 0 || len > PASSWORD_MAX)
		return -EINVAL;
	memcpy(salted, salt, SALT_LEN);
	code = argon2_ctx(&ctx, Argon2_id);
	if (code != ARGON2_OK)
		return error_of(code);
	return encode_string(out, size, &ctx, Argon2_id) == ARGON2_OK ? 0 : -ERANGE;
}
