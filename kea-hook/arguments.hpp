// Reads the arguments of one command by name and type, and remembers the first that is wrong. Every
// argument that was not read is a mistake of the caller's.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include <cc/data.h>

#include "kea-hook/kea_values.hpp"
#include "kea-hook/reply.hpp"

namespace dstm::kea {

class Arguments {
public:
    // Null stands for no arguments. `family` of the addresses and clients, AF_INET or AF_INET6.
    Arguments(const isc::data::ConstElementPtr& arguments, int family);

    // Empty or absent means: not given, or wrong and remembered.
    [[nodiscard]] Bytes client_id();  // required
    [[nodiscard]] std::optional<IOAddress> address(const std::string& name);
    // Of IPv6 and this length.
    [[nodiscard]] std::optional<IOAddress> prefix(const std::string& name,
                                                  std::optional<std::uint8_t> length);
    [[nodiscard]] IOAddress required_address(const std::string& name);
    [[nodiscard]] std::optional<std::int64_t> number(const std::string& name, std::int64_t min,
                                                     std::int64_t max);
    [[nodiscard]] std::optional<std::string> hostname();
    [[nodiscard]] isc::data::ConstElementPtr user_context();
    [[nodiscard]] isc::data::ConstElementPtr required_list(const std::string& name,
                                                           std::size_t size_max);

    // After all reads: what is wrong, if anything.
    [[nodiscard]] std::optional<Refusal> mistake();

private:
    isc::data::ConstElementPtr take(const std::string& name);
    isc::data::ConstElementPtr require(const std::string& name);
    void wrong(const std::string& name, const std::string& what);

    isc::data::ConstElementPtr arguments_;
    int family_;
    std::set<std::string> read_;
    std::optional<Refusal> mistake_;
};

}  // namespace dstm::kea
