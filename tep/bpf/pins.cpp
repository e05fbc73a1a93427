// The BPF file system by libbpf and the standard library.
#include "tep/bpf/pins.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <vector>

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tep/bpf/program_info.hpp"
#include "tep/bpf/tc_hook.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::Descriptor;
namespace fs = std::filesystem;

constexpr const char* file_system = "/sys/fs/bpf";
constexpr const char* root = "/sys/fs/bpf/dstm";
constexpr const char* program_prefix = "program_";  // then the name; maps have their own names

Result<void> mount_where_missing() {
    if (Pins::is_mounted()) return {};
    if (::mount("bpf", file_system, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") == 0) {
        return {};
    }
    auto error = error_from_errno(errno, std::string("mounting the BPF file system on ") +
                                             file_system);
    error.code = ErrorCode::unavailable;
    return tl::unexpected(error);
}

// Never given twice, unlike the number of the namespace's file.
std::uint64_t namespace_cookie() {
    std::uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    const Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    static_cast<void>(
        ::getsockopt(socket.number(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size));
    return cookie;
}

std::optional<std::string> map_name(int map) {
    bpf_map_info info{};
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(map, &info, &size) != 0) return std::nullopt;
    return info.name;
}

std::vector<fs::path> entries_of(const std::string& directory) {
    std::error_code none;
    std::vector<fs::path> out;
    for (const auto& entry : fs::directory_iterator(directory, none)) out.push_back(entry.path());
    return out;
}

// Daemons of before had a name for what they had just pinned and not yet given its own name.
std::vector<fs::path> map_paths_of(const std::string& directory) {
    auto paths = entries_of(directory);
    std::erase_if(paths, [](const fs::path& path) {
        const auto name = path.filename().string();
        return name.starts_with(program_prefix) || name == "fresh";
    });
    return paths;
}

tl::unexpected<Error> fail_foreign(const fs::path& path, const std::string& what) {
    return fail(ErrorCode::conflict, path.string() + " " + what +
                                         ": not ours; remove it, then start again");
}

Result<Descriptor> open_map(const fs::path& path) {
    Descriptor map(bpf_obj_get(path.c_str()));
    if (!map.is_open() && errno == EPERM) {
        return fail(ErrorCode::unavailable, "reading " + path.string() + " needs CAP_BPF");
    }
    if (!map.is_open()) return fail_foreign(path, "cannot be opened as a BPF map");
    if (map_name(map.number()) != path.filename()) {
        return fail_foreign(path, "is pinned by something else");
    }
    return map;
}

Result<void> remove_directory(const std::string& directory) {
    for (const auto& path : entries_of(directory)) ::unlink(path.c_str());
    if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
    return fail(ErrorCode::conflict, directory + " cannot be removed: " +
                                         std::generic_category().message(errno));
}

}  // namespace

bool Pins::is_mounted() {
    struct statfs there {};
    return ::statfs(file_system, &there) == 0 && there.f_type == BPF_FS_MAGIC;
}

Result<Pins> Pins::open(const std::string& device) {
    if (auto mounted = mount_where_missing(); !mounted) return tl::unexpected(mounted.error());
    // The file system keeps names with a dot for itself.
    auto name = device;
    std::ranges::replace(name, '.', ',');
    const auto network = "@" + std::to_string(namespace_cookie());
    return Pins(std::string(root) + "/" + name + network, network);
}

bool Pins::exist() const {
    std::error_code none;
    return fs::exists(directory_, none);
}

bool Pins::have_neighbours() const {
    return std::ranges::any_of(entries_of(root), [&](const fs::path& path) {
        return path.string().ends_with(network_) && path != directory_;
    });
}

bool Pins::may_be_read() const {
    return std::ranges::none_of(map_paths_of(directory_), [](const fs::path& path) {
        const auto map = open_map(path);
        return !map && map.error().code == ErrorCode::unavailable;
    });
}

Result<Maps> Pins::maps() const {
    Maps out;
    for (const auto& path : map_paths_of(directory_)) {
        auto map = open_map(path);
        if (!map) return tl::unexpected(map.error());
        out.emplace(path.filename(), std::move(*map));
    }
    return out;
}

Maps Pins::good_maps() const {
    Maps out;
    for (const auto& path : map_paths_of(directory_)) {
        if (auto map = open_map(path)) out.emplace(path.filename(), std::move(*map));
    }
    return out;
}

Result<void> Pins::replace(const std::vector<Pin>& all) const {
    if (auto removed = remove_directory(fresh_); !removed) return removed;
    std::error_code failed;
    fs::create_directories(fresh_, failed);
    if (failed) {
        return fail(ErrorCode::unavailable, "making " + fresh_ + ": " + failed.message());
    }
    for (const auto& [name, descriptor] : all) {
        if (bpf_obj_pin(descriptor, (fresh_ + "/" + name).c_str()) == 0) continue;
        const auto error = error_from_errno(errno, "pinning " + name + " in " + fresh_);
        static_cast<void>(remove_directory(fresh_));
        return tl::unexpected(error);
    }
    const auto how = exist() ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    if (::renameat2(AT_FDCWD, fresh_.c_str(), AT_FDCWD, directory_.c_str(), how) != 0) {
        return tl::unexpected(error_from_errno(errno, "making " + directory_));
    }
    return remove_directory(fresh_);  // what was there before
}

Result<void> Pins::remove() const {
    for (const auto& directory : {fresh_, directory_}) {
        if (auto removed = remove_directory(directory); !removed) return removed;
    }
    ::rmdir(root);  // stays while another device has pins
    return {};
}

Maps maps_of_hook(const std::string& device) {
    const auto interface = static_cast<int>(if_nametoindex(device.c_str()));
    const auto program = interface == 0 ? Descriptor()
                                        : TcHook::program_on(interface, TcDirection::egress);
    Maps out;
    if (!program.is_open()) return out;
    std::array<__u32, 64> ids{};
    const auto info = info_of(program.number(), ids);
    if (!info) return out;
    for (std::size_t i = 0; i < std::min<std::size_t>(info->nr_map_ids, ids.size()); ++i) {
        Descriptor map(bpf_map_get_fd_by_id(ids[i]));
        if (!map.is_open()) continue;
        if (auto name = map_name(map.number())) out.emplace(std::move(*name), std::move(map));
    }
    return out;
}

}  // namespace dstm::tep::bpf
