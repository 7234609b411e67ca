# SPDX-License-Identifier: BSD-2-Clause
# Linking and the ISO. lwIP and the password hashes are archives: the linker takes what the kernel calls.
#
# Two links: the first gives the addresses, ksyms.py makes the symbol table of them, the second has it.
# The table comes behind the text, so that no function moves; that is checked.
KERNEL_LDFLAGS := -n -T linker.ld -z noexecstack -z max-page-size=4096 --fatal-warnings --no-warn-rwx-segments
export CROSS_COMPILE
export SOURCE_DATE_EPOCH ?= 1767225600

# The files of the read path are compiled as one: what one of them calls in another becomes part of it where that
# saves instructions. Nothing else about them is special, and the host tests compile each by itself.
HOT_OBJS := $(addprefix $(B)/,$(addsuffix .o,drivers/e1000_rx drivers/e1000_tx drivers/e1000_straight drivers/e1000_done net/straight \
              net/netdev net/pagebuf net/answer_now net/rxpool net/stack net/lwip/tcp_straight net/lwip/tcp_straight_send net/lwip/tcp_straight_find net/lwip/tcp_cwnd net/lwip/tcp_timestamp net/lwip/memory \
              net/lwip/tcp_bare net/lwip/tcp_hash net/lwip/tcp_leave net/lwip/tcp_open net/lwip/tcp_syn net/lwip/tcp_tw \
              server/http server/http_send server/http_exchange server/http_recall server/http_conn server/http_stats server/http_timer server/access_log \
              fs/inode fs/pagecache fs/pagecache_run fs/name_cache kernel/page kernel/pool kernel/timer)) \
            $(addprefix $(LWIP_SRC)/src/core/,$(addsuffix .o,pbuf tcp tcp_in tcp_out ipv4/etharp))
HOT_CFLAGS := -flto -flto-partition=one --param max-inline-insns-auto=120 --param large-function-growth=1000 \
              --param inline-unit-growth=200 --param early-inlining-insns=30
$(HOT_OBJS): boot/boot.mk
$(HOT_OBJS): CFLAGS += $(HOT_CFLAGS)
$(B)/hot.o: $(HOT_OBJS) boot/boot.mk
	$(CC) $(CFLAGS) $(HOT_CFLAGS) -r -flinker-output=nolto-rel -nostdlib -o $@ $(HOT_OBJS)
KERNEL_OBJS := $(filter-out $(HOT_OBJS),$(OBJS)) $(B)/hot.o

$(B)/lwip.a: $(LWIP_OBJS)
	@rm -f $@
	$(CROSS_COMPILE)ar crsD $@ $(filter-out $(HOT_OBJS),$(LWIP_OBJS))

$(B)/crypto.a: $(CRYPTO_OBJS)
	@rm -f $@
	$(CROSS_COMPILE)ar crsD $@ $(CRYPTO_OBJS)

$(B)/pagewire.1.elf: linker.ld $(KERNEL_OBJS) $(B)/lwip.a $(B)/crypto.a
	$(LD) $(KERNEL_LDFLAGS) -o $@ $(KERNEL_OBJS) $(B)/lwip.a $(B)/crypto.a

$(B)/ksyms.o: $(B)/pagewire.1.elf boot/ksyms.py
	boot/ksyms.py $< >$(B)/ksyms.S
	$(CC) -c -o $@ $(B)/ksyms.S

$(B)/pagewire.elf: $(B)/ksyms.o
	$(LD) $(KERNEL_LDFLAGS) -o $@.tmp $(KERNEL_OBJS) $(B)/ksyms.o $(B)/lwip.a $(B)/crypto.a
	@$(NM) -n $@.tmp >$(B)/pagewire.sym
	@$(NM) -n $(B)/pagewire.1.elf | grep ' [tT] ' >$(B)/pagewire.1.sym
	@grep ' [tT] ' $(B)/pagewire.sym | cmp - $(B)/pagewire.1.sym || \
		{ echo "boot.mk: a function moved between the two links" >&2; exit 1; }
	@mv $@.tmp $@

.PHONY: asm
asm: $(B)/pagewire.asm
$(B)/pagewire.asm: $(B)/pagewire.elf
	$(CROSS_COMPILE)objdump -dlr --no-show-raw-insn $< >$@

# The ISO boots from BIOS (CD or USB stick) and UEFI. GRUB's own grub-mkrescue puts the clock into four
# places; these are its steps with each of them fixed, and with the modules that the menu needs only.
GRUB_LIB     ?= /usr/lib/grub
GRUB_MODULES := iso9660 part_msdos part_gpt multiboot2 normal search search_fs_file test sleep video
GRUB_STAMP    = $$(date -u -d @$(SOURCE_DATE_EPOCH) +%Y%m%d%H%M%S00)
ISO_FILES    := $(B)/iso/files

$(B)/iso/bios.img: boot/grub-early.cfg boot/boot.mk
	@mkdir -p $(@D)
	grub-mkimage -d $(GRUB_LIB)/i386-pc -O i386-pc-eltorito -o $@ -p /boot/grub -c $< \
		$(GRUB_MODULES) biosdisk
$(B)/iso/BOOTX64.EFI: boot/grub-early.cfg boot/boot.mk
	@mkdir -p $(@D)
	grub-mkimage -d $(GRUB_LIB)/x86_64-efi -O x86_64-efi -o $@ -p /boot/grub -c $< \
		$(GRUB_MODULES) efi_gop efi_uga
$(B)/iso/efi.img: $(B)/iso/BOOTX64.EFI
	@rm -f $@
	mformat -C -i $@ -T 2880 -h 2 -s 36 -N 50574652 ::
	mmd -i $@ ::/EFI ::/EFI/BOOT
	mcopy -i $@ $< ::/EFI/BOOT/BOOTX64.EFI

$(B)/pagewire.iso: $(B)/pagewire.elf boot/grub.cfg $(B)/iso/bios.img $(B)/iso/efi.img
	@rm -rf $(ISO_FILES) && mkdir -p $(ISO_FILES)/boot/grub
	$(OBJCOPY) --strip-all $< $(ISO_FILES)/boot/pagewire.elf
	cp boot/grub.cfg $(ISO_FILES)/boot/grub/
	cp $(B)/iso/bios.img $(B)/iso/efi.img $(ISO_FILES)/boot/grub/
	find $(ISO_FILES) -exec touch -h -d @$(SOURCE_DATE_EPOCH) {} +
	xorriso -as mkisofs -quiet -o $@.tmp -V PAGEWIRE --modification-date=$(GRUB_STAMP) -r \
		-b boot/grub/bios.img -no-emul-boot -boot-load-size 4 -boot-info-table --grub2-boot-info \
		--grub2-mbr $(GRUB_LIB)/i386-pc/boot_hybrid.img --protective-msdos-label \
		--efi-boot boot/grub/efi.img -efi-boot-part --efi-boot-image $(ISO_FILES)
	@mv $@.tmp $@
