// The map, and the few instructions of the filter.
#include "common/dataplane/segment_sizes.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <initializer_list>
#include <vector>

#include <linux/bpf.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dstm::dataplane {
namespace {

// The first bytes of the inner packet: addresses, lengths, ports and sequence number tell it from
// all others that wait in the socket.
constexpr std::size_t key_size = 48;
using Key = std::array<std::uint8_t, key_size>;

// As many as a full socket buffer can hold.
constexpr std::uint32_t packets_max = 8192;

int bpf(bpf_cmd command, bpf_attr& attributes) {
    return static_cast<int>(::syscall(SYS_bpf, command, &attributes, sizeof attributes));
}

std::uint64_t address_of(const void* data) { return reinterpret_cast<std::uintptr_t>(data); }

// Names of the instruction set (RFC 9669).
using Instruction = bpf_insn;

Instruction instruction(int code, int to, int from, int offset, std::int32_t value) {
    Instruction out{};
    out.code = static_cast<std::uint8_t>(code);
    out.dst_reg = to & 0x0f;
    out.src_reg = from & 0x0f;
    out.off = static_cast<std::int16_t>(offset);
    out.imm = value;
    return out;
}
Instruction set(int to, std::int32_t value) {
    return instruction(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value);
}
Instruction copy(int to, int from) {
    return instruction(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}
Instruction calculate(int operation, int to, std::int32_t value) {
    return instruction(BPF_ALU64 | operation | BPF_K, to, 0, 0, value);
}
Instruction load(int width, int to, int from, int at) {
    return instruction(BPF_LDX | BPF_MEM | width, to, from, at, 0);
}
Instruction store(int from, int on_stack) {
    return instruction(BPF_STX | BPF_MEM | BPF_W, BPF_REG_10, from, on_stack, 0);
}
Instruction call(std::int32_t helper) { return instruction(BPF_JMP | BPF_CALL, 0, 0, 0, helper); }

// If the register is (not) zero, to the instructions that accept the packet; where they are is
// filled in at the end.
constexpr int to_accept = -1;
Instruction accept_if_zero(int tested) {
    return instruction(BPF_JMP | BPF_JEQ | BPF_K, tested, 0, to_accept, 0);
}
Instruction accept_unless_zero(int tested) {
    return instruction(BPF_JMP | BPF_JNE | BPF_K, tested, 0, to_accept, 0);
}

// Notes gso_size under the first bytes of the inner packet; accepts every packet.
std::vector<Instruction> make_filter(int map, bool is_ipv4) {
    constexpr int size_at = -4;
    constexpr int first_byte_at = -8;
    constexpr int key_at = -8 - static_cast<int>(key_size);
    std::vector<Instruction> out{
        copy(BPF_REG_6, BPF_REG_1),
        load(BPF_W, BPF_REG_0, BPF_REG_6, offsetof(__sk_buff, gso_size)),
        accept_if_zero(BPF_REG_0),
        store(BPF_REG_0, size_at),
        set(BPF_REG_7, 0),
    };
    const auto append = [&](std::initializer_list<Instruction> more) {
        out.insert(out.end(), more);
    };
    const auto load_bytes = [&](int onto_stack, std::size_t size) {
        append({copy(BPF_REG_1, BPF_REG_6), copy(BPF_REG_2, BPF_REG_7), copy(BPF_REG_3, BPF_REG_10),
                calculate(BPF_ADD, BPF_REG_3, onto_stack),
                set(BPF_REG_4, static_cast<std::int32_t>(size)), call(BPF_FUNC_skb_load_bytes),
                accept_unless_zero(BPF_REG_0)});
    };
    if (is_ipv4) {  // RFC 791 s3.1: the length of the outer header, in words of 4 bytes
        load_bytes(first_byte_at, 1);
        append({load(BPF_B, BPF_REG_7, BPF_REG_10, first_byte_at),
                calculate(BPF_AND, BPF_REG_7, 0x0f), calculate(BPF_LSH, BPF_REG_7, 2)});
    }
    load_bytes(key_at, key_size);
    append({instruction(BPF_LD | BPF_IMM | BPF_DW, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map),
            instruction(0, 0, 0, 0, 0), copy(BPF_REG_2, BPF_REG_10),
            calculate(BPF_ADD, BPF_REG_2, key_at), copy(BPF_REG_3, BPF_REG_10),
            calculate(BPF_ADD, BPF_REG_3, size_at), set(BPF_REG_4, BPF_ANY),
            call(BPF_FUNC_map_update_elem)});
    for (std::size_t i = 0; i < out.size(); ++i) {
        if (out[i].off == to_accept && (out[i].code & 0x07) == BPF_JMP) {
            out[i].off = static_cast<std::int16_t>(out.size() - i - 1);
        }
    }
    append({set(BPF_REG_0, -1), instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)});
    return out;
}

}  // namespace

Result<SegmentSizes> SegmentSizes::note_for(int raw_socket, bool is_ipv4) {
    bpf_attr map_attributes{};
    map_attributes.map_type = BPF_MAP_TYPE_LRU_HASH;
    map_attributes.key_size = key_size;
    map_attributes.value_size = sizeof(std::uint32_t);
    map_attributes.max_entries = packets_max;
    Descriptor map(bpf(BPF_MAP_CREATE, map_attributes));
    if (!map.is_open()) return tl::unexpected(error_from_errno(errno, "make a BPF map"));

    const auto filter = make_filter(map.number(), is_ipv4);
    bpf_attr program_attributes{};
    program_attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    program_attributes.insns = address_of(filter.data());
    program_attributes.insn_cnt = static_cast<std::uint32_t>(filter.size());
    program_attributes.license = address_of("");
    const Descriptor program(bpf(BPF_PROG_LOAD, program_attributes));
    if (!program.is_open()) return tl::unexpected(error_from_errno(errno, "load a BPF filter"));
    const int number = program.number();
    if (::setsockopt(raw_socket, SOL_SOCKET, SO_ATTACH_BPF, &number, sizeof number) != 0) {
        return tl::unexpected(error_from_errno(errno, "put a BPF filter on the outer socket"));
    }
    return SegmentSizes(std::move(map));
}

SegmentSize SegmentSizes::of(ConstBytes packet) const {
    if (packet.size() < key_size) return 0;
    Key key;
    std::copy_n(packet.begin(), key_size, key.begin());
    std::uint32_t size = 0;
    bpf_attr attributes{};
    attributes.map_fd = static_cast<std::uint32_t>(map_.number());
    attributes.key = address_of(key.data());
    attributes.value = address_of(&size);
    // It stays: the same bytes may wait twice. New ones push out the oldest.
    if (bpf(BPF_MAP_LOOKUP_ELEM, attributes) != 0) return 0;
    return static_cast<SegmentSize>(size);
}

}  // namespace dstm::dataplane
