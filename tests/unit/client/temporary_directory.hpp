// A directory for one test, gone with it.
#pragma once

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace dstm::client {

class TemporaryDirectory {
public:
    TemporaryDirectory() {
        std::array<char, 64> name{"/tmp/dstm-client-test-XXXXXX"};
        path_ = mkdtemp(name.data());
    }
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

}  // namespace dstm::client
