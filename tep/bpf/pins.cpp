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

#include "common/base/assert.hpp"
#include "tep/bpf/program_info.hpp"
#include "tep/bpf/tc_hook.hpp"
#include "tep/bpf/xdp_hook.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::Descriptor;
namespace fs = std::filesystem;

constexpr const char* file_system = "/sys/fs/bpf";
constexpr const char* root = "/sys/fs/bpf/dstm";
constexpr std::string_view program_prefix = "program_";  // then the name; maps have their own
constexpr std::string_view link_prefix = "link_";        // then the interface
// Daemons of before had a name for what they had just pinned and not yet given its own name.
constexpr std::string_view unfinished = "fresh";

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
    const std::string_view name = info.name;
    return std::string(name.substr(name.rfind('.') + 1));  // of a section, which has dots before it
}

std::vector<fs::path> entries_of(const std::string& directory) {
    std::error_code none;
    std::vector<fs::path> out;
    for (const auto& entry : fs::directory_iterator(directory, none)) out.push_back(entry.path());
    return out;
}

bool is_link(const fs::path& path) {
    return path.filename().string().starts_with(link_prefix);
}

std::vector<fs::path> map_paths_of(const std::string& directory) {
    auto paths = entries_of(directory);
    std::erase_if(paths, [](const fs::path& path) {
        const auto name = path.filename().string();
        return !is_name_of_pin(name) || name.starts_with(program_prefix) || is_link(path) ||
               name == unfinished;
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

std::map<std::string, Descriptor> open_links(const std::string& directory) {
    std::map<std::string, Descriptor> out;
    for (const auto& path : entries_of(directory)) {
        if (!is_link(path)) continue;
        Descriptor link(bpf_obj_get(path.c_str()));
        if (link.is_open()) out.emplace(path.filename(), std::move(link));
    }
    return out;
}

Result<void> unpin_all(const std::string& directory) {
    std::error_code none;
    if (fs::symlink_status(directory, none).type() == fs::file_type::not_found) return {};
    for (const auto& path : entries_of(directory)) {
        if (is_name_of_pin(path.filename().string())) ::unlink(path.c_str());
    }
    if (::rmdir(directory.c_str()) == 0) return {};
    const auto why = std::generic_category().message(errno);
    const bool may_not = errno == EACCES || errno == EPERM || errno == EROFS;
    return fail(may_not ? ErrorCode::refused : ErrorCode::conflict,
                directory + " cannot be removed: " + why);
}

}  // namespace

bool is_name_of_pin(std::string_view name) {
    constexpr std::array<std::string_view, 6> prefixes{program_prefix, link_prefix, "pool_",
                                                       "records_",     "outside_",  "ipv6_"};
    constexpr std::array<std::string_view, 8> names{
        unfinished, "outside", "meta", "hooks", "next_hops", "ports", "drops", "refused"};
    return std::ranges::find(names, name) != names.end() ||
           std::ranges::any_of(prefixes, [&](auto prefix) { return name.starts_with(prefix); });
}

bool Pins::is_mounted() {
    struct statfs there {};
    return ::statfs(file_system, &there) == 0 && there.f_type == BPF_FS_MAGIC;
}

Result<Pins> Pins::open(const std::string& device) {
    if (::access(root, F_OK) != 0 && errno == EACCES) {
        return fail(ErrorCode::refused,
                    std::string(root) + " cannot be looked into without the rights of root");
    }
    // The file system keeps names with a dot for itself.
    auto name = device;
    std::ranges::replace(name, '.', ',');
    return Pins(std::string(root) + "/" + name + "@" + std::to_string(namespace_cookie()));
}

bool Pins::exist() const {
    std::error_code none;
    return fs::is_directory(fs::symlink_status(directory_, none));
}

std::string Pins::link_path(int interface) const {
    return directory_ + "/" + std::string(link_prefix) + std::to_string(interface);
}

Result<void> Pins::check() const {
    std::error_code none;
    for (const auto& directory : {std::string(root), directory_, fresh_}) {
        const auto there = fs::symlink_status(directory, none);
        if (fs::exists(there) && !fs::is_directory(there)) {
            return fail_foreign(directory, "is no directory");
        }
        if (directory == root) continue;
        for (const auto& path : entries_of(directory)) {
            if (is_name_of_pin(path.filename().string())) continue;
            return fail_foreign(path, "is pinned by something else");
        }
    }
    return {};
}

bool Pins::may_be_read() const {
    return std::ranges::none_of(map_paths_of(directory_), [](const fs::path& path) {
        const auto map = open_map(path);
        return !map && map.error().code == ErrorCode::unavailable;
    });
}

Result<Maps> Pins::maps() const {
    if (auto checked = check(); !checked) return tl::unexpected(checked.error());
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
    if (auto mounted = mount_where_missing(); !mounted) return mounted;
    if (auto checked = check(); !checked) return checked;
    if (auto removed = unpin_all(fresh_); !removed) return removed;
    std::error_code failed;
    fs::create_directories(fresh_, failed);
    if (failed) {
        return fail(ErrorCode::unavailable, "making " + fresh_ + ": " + failed.message());
    }
    auto wanted = all;
    const auto links = open_links(directory_);
    for (const auto& [name, link] : links) wanted.push_back({name, link.number()});
    for (const auto& [name, descriptor] : wanted) {
        DSTM_ASSERT(is_name_of_pin(name));
        if (bpf_obj_pin(descriptor, (fresh_ + "/" + name).c_str()) == 0) continue;
        const auto error = error_from_errno(errno, "pinning " + name + " in " + fresh_);
        static_cast<void>(unpin_all(fresh_));
        return tl::unexpected(error);
    }
    const auto how = exist() ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    if (::renameat2(AT_FDCWD, fresh_.c_str(), AT_FDCWD, directory_.c_str(), how) != 0) {
        return tl::unexpected(error_from_errno(errno, "making " + directory_));
    }
    return unpin_all(fresh_);  // what was there before
}

Result<void> Pins::remove() const {
    end_links();
    auto fresh = unpin_all(fresh_);
    auto removed = unpin_all(directory_);
    ::rmdir(root);  // stays while another device has pins
    return removed ? fresh : removed;
}

void Pins::end_links() const {
    for (const auto& directory : {fresh_, directory_}) {
        for (const auto& path : entries_of(directory)) {
            if (is_link(path)) XdpHook::end(path);
        }
    }
}

Maps maps_of_hook(const std::string& device) {
    const auto interface = static_cast<int>(if_nametoindex(device.c_str()));
    const auto program =
        interface == 0
            ? Descriptor()
            : TcHook::program_on({interface, TcDirection::egress, tc_handle_of(device), true});
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
