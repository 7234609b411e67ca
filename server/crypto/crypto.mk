# SPDX-License-Identifier: BSD-2-Clause
# Argon2 (its authors' reference code, 20190702) and BearSSL's SHA-256 and MD5 (0.6), for passwords: fetched
# (or taken from ARGON2_DIR, BEARSSL_DIR), unpacked into $(B)/crypto, not changed. Only the files named here
# are built, with the few libc headers of port/.
#     CRYPTO_CFLAGS   include paths for the files that include argon2.h or bearssl_hash.h
#     CRYPTO_OBJS     what the kernel links         CRYPTO_HOST_LIB   the same for host programs
ARGON2_DIR   ?=
BEARSSL_DIR  ?=
CRYPTO_HOME  := server/crypto
CRYPTO_SRC   := $(B)/crypto
CRYPTO_READY := $(CRYPTO_SRC)/.ready
CRYPTO_CFLAGS := -I$(CRYPTO_SRC)/argon2/include -I$(CRYPTO_SRC)/argon2/src -I$(CRYPTO_SRC)/argon2/src/blake2 -I$(CRYPTO_SRC)/bearssl/inc

CRYPTO_FILES := $(addprefix argon2/src/,argon2 core encoding ref blake2/blake2b) \
                $(addprefix bearssl/src/,hash/sha2small hash/md5 codec/dec32le codec/enc32le codec/dec32be codec/enc32be)
CRYPTO_OBJS  := $(CRYPTO_FILES:%=$(CRYPTO_SRC)/%.o)

$(CRYPTO_READY): tools/fetch $(CRYPTO_HOME)/crypto.mk
	@rm -rf $(CRYPTO_SRC) && mkdir -p $(CRYPTO_SRC)/argon2 $(CRYPTO_SRC)/bearssl
ifeq ($(ARGON2_DIR),)
	@tarball=$$(tools/fetch argon2 argon2_0~20190702+dfsg.orig.tar.xz \
		815f1017b5b0033204778c2e32443257274bc5d9dd16d355c4f7db8189e23dcc \
		ARGON2_DIR https://github.com/P-H-C/phc-winner-argon2) && \
		tar -xmf "$$tarball" -C $(CRYPTO_SRC)/argon2 --strip-components=1
else
	@cp -R $(ARGON2_DIR)/. $(CRYPTO_SRC)/argon2/
endif
ifeq ($(BEARSSL_DIR),)
	@tarball=$$(tools/fetch bearssl bearssl_0.6+dfsg.1.orig.tar.xz \
		102a625bd8f6155260867a50c508df8d8c3f796985dd744df1a68e5cd1a79004 \
		BEARSSL_DIR https://bearssl.org/) && \
		tar -xmf "$$tarball" -C $(CRYPTO_SRC)/bearssl --strip-components=1
else
	@cp -R $(BEARSSL_DIR)/. $(CRYPTO_SRC)/bearssl/
endif
	@touch $@

$(CRYPTO_SRC)/%.h: $(CRYPTO_READY) ;
$(CRYPTO_FILES:%=$(CRYPTO_SRC)/%.c): $(CRYPTO_READY) ;
CRYPTO_FLAGS := -DARGON2_NO_THREADS -DBR_USE_UNIX_TIME=0 -DBR_USE_URANDOM=0 -DBR_USE_GETENTROPY=0 -DBR_AES_X86NI=0 -DBR_SSE2=0 \
                -Wno-missing-prototypes -Wno-strict-prototypes -I$(CRYPTO_SRC)/bearssl/src
$(CRYPTO_OBJS): $(CRYPTO_SRC)/%.o: $(CRYPTO_READY) $(CRYPTO_HOME)/crypto.mk
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CRYPTO_CFLAGS) $(CRYPTO_FLAGS) -I$(CRYPTO_HOME)/port -w -c -o $@ $(CRYPTO_SRC)/$*.c
-include $(CRYPTO_OBJS:.o=.d)

# For host tests and tools/password.
CRYPTO_HOST      := $(B)/host/crypto
CRYPTO_HOST_LIB  := $(B)/host/libcrypto.a
CRYPTO_HOST_OBJS := $(CRYPTO_FILES:%=$(CRYPTO_HOST)/%.o)
$(CRYPTO_HOST_OBJS): $(CRYPTO_HOST)/%.o: $(CRYPTO_READY) $(CRYPTO_HOME)/crypto.mk
	@mkdir -p $(@D)
	$(HOST_CC) -std=gnu11 -O2 $(CRYPTO_CFLAGS) $(CRYPTO_FLAGS) -w -MMD -MP -c -o $@ $(CRYPTO_SRC)/$*.c
$(CRYPTO_HOST_LIB): $(CRYPTO_HOST_OBJS)
	@rm -f $@
	ar crs $@ $^
-include $(CRYPTO_HOST_OBJS:.o=.d)
