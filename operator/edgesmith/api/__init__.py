"""EdgeModel and DeviceProfile as types; conditions, reasons, labels and names. The CRDs are generated from here."""
