// Filling the skeleton, loading it, and making one sentence of what the verifier says.
#include "tep/bpf/programs.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dstm.skel.h"
#include "tep/bpf/mapped_array.hpp"

namespace dstm::tep::bpf {
namespace {

constexpr std::size_t verifier_log_size = std::size_t{1} << 20;

// libbpf's own messages, from the thread that loads; the last one names what failed.
thread_local std::string last_message;

int keep_message(libbpf_print_level level, const char* format, va_list arguments) {
    if (level != LIBBPF_WARN) return 0;
    std::array<char, 512> text{};
    const int length = std::vsnprintf(text.data(), text.size(), format, arguments);
    // The verifier's log comes through here too, line by line; it is kept whole elsewhere.
    if (length > 0 && std::strncmp(text.data(), "libbpf: prog", 12) == 0)
        last_message = text.data();
    return length;
}

std::uint64_t half(const Ipv6Address& address, std::size_t offset) {
    std::uint64_t value = 0;
    std::memcpy(&value, address.bytes().data() + offset, sizeof(value));
    return value;
}

std::uint64_t size_of(const Ipv4Prefix& pool) { return std::uint64_t{1} << (32 - pool.length); }

Result<void> check_pools(const std::vector<Ipv4Prefix>& pools) {
    if (pools.size() > DSTM_POOLS_MAX) {
        return fail(ErrorCode::invalid,
                    "at most " + std::to_string(DSTM_POOLS_MAX) + " pools can be carried");
    }
    for (std::size_t i = 0; i < pools.size(); ++i) {
        if (size_of(pools[i]) > DSTM_POOL_ADDRESSES_MAX) {
            return fail(ErrorCode::invalid, "pool " + pools[i].to_string() +
                                                " is larger than a /10, the largest carried");
        }
        for (std::size_t k = 0; k < i; ++k) {
            if (pools[i].contains(pools[k].address) || pools[k].contains(pools[i].address)) {
                return fail(ErrorCode::invalid, "pools " + pools[k].to_string() + " and " +
                                                    pools[i].to_string() + " overlap");
            }
        }
    }
    return {};
}

struct PoolMaps {
    bpf_map* entries;
    bpf_map* records;
};

std::array<PoolMaps, DSTM_POOLS_MAX> pool_maps(const dstm_programs& skeleton) {
    const auto& maps = skeleton.maps;
    return {{{maps.pool_0, maps.records_0},
             {maps.pool_1, maps.records_1},
             {maps.pool_2, maps.records_2},
             {maps.pool_3, maps.records_3},
             {maps.pool_4, maps.records_4},
             {maps.pool_5, maps.records_5},
             {maps.pool_6, maps.records_6},
             {maps.pool_7, maps.records_7}}};
}

void write_settings(dstm_programs& skeleton, const ProgramSettings& settings) {
    auto& out = skeleton.rodata->settings;
    out.outer[0] = half(settings.outer, 0);
    out.outer[1] = half(settings.outer, 8);
    out.inner = settings.inner ? htonl(settings.inner->host_order()) : 0;
    out.device_header = settings.device_header;
    out.hairpin = settings.hairpin;
    out.mss_clamp = settings.mss_clamp;
    out.outer_ipv4 = settings.outer_ipv4 ? htonl(settings.outer_ipv4->host_order()) : 0;
    if (settings.inner_ipv6) {
        out.inner_ipv6[0] = half(*settings.inner_ipv6, 0);
        out.inner_ipv6[1] = half(*settings.inner_ipv6, 8);
    }
    out.udp_port = settings.udp_port;
    for (std::size_t i = 0; i < settings.pools.size(); ++i) {
        out.pools[i].first = settings.pools[i].address.host_order();
        out.pools[i].size = static_cast<__u32>(size_of(settings.pools[i]));
    }
}

void size_maps(dstm_programs& skeleton, const ProgramSettings& settings) {
    const auto maps = pool_maps(skeleton);
    for (std::size_t i = 0; i < maps.size(); ++i) {
        const bool used = i < settings.pools.size();
        for (bpf_map* map : {maps[i].entries, maps[i].records}) {
            bpf_map__set_autocreate(map, used);
            if (used) bpf_map__set_max_entries(map, static_cast<__u32>(size_of(settings.pools[i])));
        }
    }
    bpf_map__set_max_entries(skeleton.maps.outside_entries, DSTM_OUTSIDE_MAX);
    bpf_map__set_max_entries(skeleton.maps.outside_records, DSTM_OUTSIDE_MAX);
    // The buckets of a hash are there from the start, however few elements it has.
    const auto tunnels = ipv6_slots_of(settings);
    bpf_map__set_max_entries(skeleton.maps.ipv6_slots, 2 * tunnels);
    bpf_map__set_max_entries(skeleton.maps.ipv6_entries, tunnels);
    bpf_map__set_max_entries(skeleton.maps.ipv6_records, tunnels);
}

// Without the dots of a section, which no pin may have.
std::string name_of(const bpf_map* map) {
    const std::string_view name = bpf_map__name(map);
    return std::string(name.substr(name.rfind('.') + 1));
}

// Those whose content is worth more than the process: not the route cache and not the globals.
bool outlives(const bpf_map* map) {
    const auto name = name_of(map);
    return bpf_map__autocreate(map) && (!bpf_map__is_internal(map) || name == "next_hops") &&
           !name.starts_with("route_cache");
}

Result<void> reuse(dstm_programs& skeleton, const Maps& adopted) {
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, skeleton.obj) {
        const auto found = adopted.find(name_of(map));
        if (!outlives(map) || found == adopted.end()) continue;
        bpf_map_info info{};
        __u32 size = sizeof info;
        const int there = found->second.number();
        if (bpf_obj_get_info_by_fd(there, &info, &size) != 0) {
            return tl::unexpected(error_from_errno(errno, "asking for a map"));
        }
        if (info.type != bpf_map__type(map) || info.key_size != bpf_map__key_size(map) ||
            info.value_size != bpf_map__value_size(map) ||
            info.max_entries != bpf_map__max_entries(map)) {
            return fail(ErrorCode::conflict, "the map " + found->first +
                                                 " is not what an earlier dstm-tep made; "
                                                 "dstm-tep --detach removes it");
        }
        if (const int failed = bpf_map__reuse_fd(map, there); failed != 0) {
            return tl::unexpected(error_from_errno(-failed, "adopting the map " + found->first));
        }
    }
    return {};
}

Error load_error(int code, const std::string& log) {
    auto error = error_from_errno(code, "loading the BPF programs");
    if (code == EPERM && log.empty()) {
        error.code = ErrorCode::unavailable;
        error.context += " (needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)";
        return error;
    }
    if (log.empty()) return error;
    std::string which = last_message.empty() ? std::string("a program") : last_message;
    while (!which.empty() && which.back() == '\n') which.pop_back();
    return {ErrorCode::refused,
            "the kernel refused a BPF program: " + verifier_reason(log) + " [" + which + "]"};
}

}  // namespace

struct Programs::Impl {
    ProgramSettings settings;
    dstm_programs* skeleton = nullptr;

    Impl() = default;
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl() { dstm_programs__destroy(skeleton); }
};

Programs::Programs(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Programs::Programs(Programs&&) noexcept = default;
Programs& Programs::operator=(Programs&&) noexcept = default;
Programs::~Programs() = default;

Result<Programs> Programs::load(const ProgramSettings& settings, const Maps& adopted) {
    if (auto checked = check_pools(settings.pools); !checked) {
        return tl::unexpected(checked.error());
    }
    last_message.clear();
    libbpf_set_print(keep_message);
    std::string log(verifier_log_size, '\0');
    LIBBPF_OPTS(bpf_object_open_opts, options);
    options.kernel_log_buf = log.data();
    options.kernel_log_size = log.size();

    auto impl = std::make_unique<Impl>();
    impl->settings = settings;
    impl->skeleton = dstm_programs__open_opts(&options);
    if (impl->skeleton == nullptr) {
        return tl::unexpected(error_from_errno(errno, "opening the BPF programs"));
    }
    write_settings(*impl->skeleton, settings);
    size_maps(*impl->skeleton, settings);
    if (auto reused = reuse(*impl->skeleton, adopted); !reused) {
        return tl::unexpected(reused.error());
    }
    if (const int failed = dstm_programs__load(impl->skeleton); failed != 0) {
        log.resize(std::strlen(log.c_str()));
        return tl::unexpected(load_error(-failed, log));
    }
    return Programs(std::move(impl));
}

std::uint32_t ipv6_slots_of(const ProgramSettings& settings) {
    return settings.outer_ipv4 ? settings.ipv6_tunnels_max : 1;
}

const ProgramSettings& Programs::settings() const { return impl_->settings; }
int Programs::down() const { return bpf_program__fd(impl_->skeleton->progs.dstm_down); }
int Programs::up() const { return bpf_program__fd(impl_->skeleton->progs.dstm_up); }
int Programs::up_routed() const {
    return bpf_program__fd(impl_->skeleton->progs.dstm_up_routed);
}
int Programs::up_straight() const {
    return bpf_program__fd(impl_->skeleton->progs.dstm_up_straight);
}
int Programs::xdp() const { return bpf_program__fd(impl_->skeleton->progs.dstm_xdp); }
int Programs::pool_entries(std::size_t pool) const {
    return bpf_map__fd(pool_maps(*impl_->skeleton).at(pool).entries);
}
int Programs::pool_records(std::size_t pool) const {
    return bpf_map__fd(pool_maps(*impl_->skeleton).at(pool).records);
}
int Programs::outside_slots() const { return bpf_map__fd(impl_->skeleton->maps.outside_slots); }
int Programs::outside_entries() const {
    return bpf_map__fd(impl_->skeleton->maps.outside_entries);
}
int Programs::outside_records() const {
    return bpf_map__fd(impl_->skeleton->maps.outside_records);
}
int Programs::ipv6_slots() const { return bpf_map__fd(impl_->skeleton->maps.ipv6_slots); }
int Programs::ipv6_entries() const { return bpf_map__fd(impl_->skeleton->maps.ipv6_entries); }
int Programs::ipv6_records() const { return bpf_map__fd(impl_->skeleton->maps.ipv6_records); }
int Programs::meta() const { return bpf_map__fd(impl_->skeleton->maps.meta); }
int Programs::hooks() const { return bpf_map__fd(impl_->skeleton->maps.hooks); }
int Programs::next_hops() const { return bpf_map__fd(impl_->skeleton->maps.data_next_hops); }
int Programs::drops() const { return bpf_map__fd(impl_->skeleton->maps.drops); }
int Programs::refused() const { return bpf_map__fd(impl_->skeleton->maps.refused); }

Result<void> Programs::bind_maps() const {
    const bpf_map* map = nullptr;
    bpf_object__for_each_map(map, impl_->skeleton->obj) {
        if (!outlives(map)) continue;
        const int failed = bpf_prog_bind_map(down(), bpf_map__fd(map), nullptr);
        if (failed != 0 && failed != -EEXIST) {
            return tl::unexpected(error_from_errno(-failed, "binding a map to its program"));
        }
    }
    return {};
}

Result<void> Programs::pin(const Pins& pins) const {
    std::vector<Pin> all;
    const bpf_map* map = nullptr;
    bpf_object__for_each_map(map, impl_->skeleton->obj) {
        if (outlives(map)) all.push_back({name_of(map), bpf_map__fd(map)});
    }
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, impl_->skeleton->obj) {
        all.push_back(
            {std::string("program_") + bpf_program__name(program), bpf_program__fd(program)});
    }
    return pins.replace(all);
}

void Programs::set_port(int interface, const dstm_port& port) {
    impl_->skeleton->bss->ports[static_cast<__u32>(interface) % DSTM_PORTS_MAX] = port;
}

void Programs::set_outside_count(std::uint32_t count) {
    impl_->skeleton->bss->outside_count = count;
}

// Each word by itself: whether a length is in it does not depend on the others.
void Programs::set_prefix_lengths(const std::array<std::uint64_t, 2>& lengths) {
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        publish(impl_->skeleton->bss->prefix_lengths[i], __u64{lengths[i]});
    }
}

void Programs::set_straight(std::uint32_t families) {
    impl_->skeleton->bss->straight = families;
}

void Programs::set_tunnel_device(int interface) {
    impl_->skeleton->bss->tunnel_device = static_cast<__u32>(interface);
}

void Programs::deliver_to(int interface) {
    impl_->skeleton->bss->deliver_to = static_cast<__u32>(interface);
}

std::string verifier_reason(const std::string& log) {
    // The reason is the last line before the statistics; the instruction stands above it.
    std::string reason;
    std::string instruction;
    std::size_t at = 0;
    while (at < log.size()) {
        auto end = log.find('\n', at);
        if (end == std::string::npos) end = log.size();
        const auto line = log.substr(at, end - at);
        at = end + 1;
        if (line.empty()) continue;
        if (line.starts_with("processed ")) break;
        const auto digits = line.find_first_not_of("0123456789");
        const bool is_instruction = digits != 0 && line.compare(digits, 3, ": (") == 0;
        (is_instruction ? instruction : reason) = line;
    }
    if (reason.empty()) return log;
    return instruction.empty() ? reason : reason + " (at " + instruction + ")";
}

}  // namespace dstm::tep::bpf
