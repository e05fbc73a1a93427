// RFC 3339 s5.6, by the calendar of <chrono>.
#include "dstm-server/admin/rfc3339.hpp"

#include <fmt/format.h>

namespace dstm::server {
namespace {

// Takes pieces off the front of a text.
class Scanner {
public:
    explicit Scanner(std::string_view text) : text_(text) {}

    // Exactly `digits` digits, with a value from `min` to `max`.
    std::optional<int> number(std::size_t digits, int min, int max) {
        if (text_.size() < digits) return std::nullopt;
        int value = 0;
        for (const char c : text_.substr(0, digits)) {
            if (c < '0' || c > '9') return std::nullopt;
            value = value * 10 + (c - '0');
        }
        text_.remove_prefix(digits);
        if (value < min || value > max) return std::nullopt;
        return value;
    }
    bool take(std::string_view any_of) {
        if (text_.empty() || any_of.find(text_.front()) == std::string_view::npos) return false;
        last_ = text_.front();
        text_.remove_prefix(1);
        return true;
    }
    [[nodiscard]] char last() const { return last_; }
    [[nodiscard]] bool is_at_end() const { return text_.empty(); }

private:
    std::string_view text_;
    char last_ = 0;
};

// nullopt: bad. No offset at all is UTC.
std::optional<std::chrono::minutes> offset(Scanner& scanner) {
    if (scanner.is_at_end() || scanner.take("Zz")) return std::chrono::minutes(0);
    if (!scanner.take("+-")) return std::nullopt;
    const int sign = scanner.last() == '-' ? -1 : 1;
    const auto hours = scanner.number(2, 0, 23);
    if (!hours || !scanner.take(":")) return std::nullopt;
    const auto minutes = scanner.number(2, 0, 59);
    if (!minutes) return std::nullopt;
    return std::chrono::minutes(sign * (*hours * 60 + *minutes));
}

std::optional<std::chrono::seconds> time_of_day(Scanner& scanner) {
    const auto hour = scanner.number(2, 0, 23);
    if (!hour || !scanner.take(":")) return std::nullopt;
    const auto minute = scanner.number(2, 0, 59);
    if (!minute) return std::nullopt;
    int second = 0;
    if (scanner.take(":")) {
        const auto read = scanner.number(2, 0, 60);
        if (!read) return std::nullopt;
        second = *read;
        if (scanner.take(".")) {
            if (!scanner.number(1, 0, 9)) return std::nullopt;
            while (scanner.number(1, 0, 9)) {}
        }
    }
    return std::chrono::hours(*hour) + std::chrono::minutes(*minute) + std::chrono::seconds(second);
}

}  // namespace

std::string to_rfc3339(WallTime time) {
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss clock(time - day);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                       clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

std::optional<WallTime> parse_rfc3339(std::string_view text) {
    Scanner scanner(text);
    const auto year = scanner.number(4, 1970, 9999);
    if (!year || !scanner.take("-")) return std::nullopt;
    const auto month = scanner.number(2, 1, 12);
    if (!month || !scanner.take("-")) return std::nullopt;
    const auto day = scanner.number(2, 1, 31);
    if (!day) return std::nullopt;
    const std::chrono::year_month_day date{std::chrono::year(*year),
                                           std::chrono::month(static_cast<unsigned>(*month)),
                                           std::chrono::day(static_cast<unsigned>(*day))};
    if (!date.ok()) return std::nullopt;
    std::chrono::seconds time(0);
    std::chrono::minutes east(0);
    if (scanner.take("Tt ")) {
        const auto read = time_of_day(scanner);
        const auto zone = read ? offset(scanner) : std::nullopt;
        if (!zone) return std::nullopt;
        time = *read;
        east = *zone;
    }
    if (!scanner.is_at_end()) return std::nullopt;
    return std::chrono::sys_days(date) + time - east;
}

}  // namespace dstm::server
