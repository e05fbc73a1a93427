// The BPF file system by libbpf and the standard library.
#include "tep/bpf/pins.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <vector>

#include <bpf/bpf.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tep/bpf/tc_hook.hpp"

namespace dstm::tep::bpf {
namespace {

using dataplane::Descriptor;
namespace fs = std::filesystem;

constexpr const char* file_system = "/sys/fs/bpf";
constexpr const char* root = "/sys/fs/bpf/dstm";
constexpr const char* program_prefix = "program_";  // then the name; maps have their own names

Result<void> mount_where_missing() {
    struct statfs there {};
    if (::statfs(file_system, &there) == 0 && there.f_type == BPF_FS_MAGIC) return {};
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

tl::unexpected<Error> fail_foreign(const fs::path& path, const std::string& what) {
    return fail(ErrorCode::conflict, path.string() + " " + what +
                                         ": not ours; remove it, then start again");
}

}  // namespace

Result<Pins> Pins::open(const std::string& device) {
    if (auto mounted = mount_where_missing(); !mounted) return tl::unexpected(mounted.error());
    // The file system keeps names with a dot for itself.
    auto name = device + "@" + std::to_string(namespace_cookie());
    std::ranges::replace(name, '.', ',');
    return Pins(std::string(root) + "/" + name);
}

bool Pins::exist() const {
    std::error_code none;
    return fs::exists(directory_, none);
}

Result<Maps> Pins::maps() const {
    Maps out;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(directory_, none)) {
        const auto name = entry.path().filename().string();
        if (name.starts_with(program_prefix)) continue;
        Descriptor map(bpf_obj_get(entry.path().c_str()));
        if (!map.is_open()) return fail_foreign(entry.path(), "cannot be opened as a BPF map");
        if (const auto real = map_name(map.number()); real != name) {
            return fail_foreign(entry.path(), "is pinned by something else");
        }
        out.emplace(name, std::move(map));
    }
    return out;
}

Result<void> Pins::pin(const std::string& name, int descriptor) const {
    std::error_code failed;
    fs::create_directories(directory_, failed);
    if (failed) return fail(ErrorCode::unavailable, "making " + directory_ + failed.message());
    // A name is replaced in one step, so that it is never missing.
    const auto path = directory_ + "/" + name;
    const auto fresh = directory_ + "/fresh";
    ::unlink(fresh.c_str());
    if (bpf_obj_pin(descriptor, fresh.c_str()) != 0 ||
        ::rename(fresh.c_str(), path.c_str()) != 0) {
        return tl::unexpected(error_from_errno(errno, "pinning " + path));
    }
    return {};
}

void Pins::keep_only(const std::set<std::string>& names) const {
    for (const auto& path : entries_of(directory_)) {
        if (!names.contains(path.filename())) ::unlink(path.c_str());
    }
}

Result<void> Pins::remove() const {
    for (const auto& path : entries_of(directory_)) ::unlink(path.c_str());
    if (::rmdir(directory_.c_str()) != 0 && errno != ENOENT) {
        return fail(ErrorCode::conflict, directory_ + " cannot be removed: " +
                                             std::generic_category().message(errno));
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
    bpf_prog_info info{};
    info.nr_map_ids = ids.size();
    info.map_ids = reinterpret_cast<std::uintptr_t>(ids.data());
    __u32 size = sizeof info;
    if (bpf_obj_get_info_by_fd(program.number(), &info, &size) != 0) return out;
    for (std::size_t i = 0; i < std::min<std::size_t>(info.nr_map_ids, ids.size()); ++i) {
        Descriptor map(bpf_map_get_fd_by_id(ids[i]));
        if (!map.is_open()) continue;
        if (auto name = map_name(map.number())) out.emplace(std::move(*name), std::move(map));
    }
    return out;
}

}  // namespace dstm::tep::bpf
